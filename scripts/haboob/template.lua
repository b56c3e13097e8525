-- Pages from templates: HTML with holes, compiled once to a tree of closures.
--
--   {{name}}                    the field, escaped for HTML       {{&name}}   as it is
--   {{#name}} … {{/name}}       once for each item of a list, with the item's fields in reach; once for another true value
--   {{^name}} … {{/name}}       when the field is nil, false or an empty list
--   {{.}}                       the item itself
local M = {}

local entities = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;"}

function M.escape(text)
    return (tostring(text):gsub("[&<>\"']", entities))
end

-- A scope is {value, outer scope}. The innermost one that has the field gives it.
local function look_up(scope, name)
    if name == "." then
        return scope[1]
    end
    while scope do
        local holder = scope[1]
        if type(holder) == "table" and holder[name] ~= nil then
            return holder[name]
        end
        scope = scope[2]
    end
    return nil
end

local function is_empty(value)
    return value == nil or value == false or (type(value) == "table" and next(value) == nil)
end

local function is_list(value)
    return type(value) == "table" and value[1] ~= nil
end

local function render_all(parts, scope, out)
    for i = 1, #parts do
        parts[i](scope, out)
    end
end

local function text_part(text)
    return function(_, out)
        out[#out + 1] = text
    end
end

local function field_part(name, escape)
    return function(scope, out)
        local value = look_up(scope, name)
        if value ~= nil then
            out[#out + 1] = escape and M.escape(value) or tostring(value)
        end
    end
end

local function section_part(name, parts)
    return function(scope, out)
        local value = look_up(scope, name)
        if is_empty(value) then
            return
        end
        if not is_list(value) then
            return render_all(parts, type(value) == "table" and {value, scope} or scope, out)
        end
        for _, item in ipairs(value) do
            render_all(parts, {item, scope}, out)
        end
    end
end

local function inverted_part(name, parts)
    return function(scope, out)
        if is_empty(look_up(scope, name)) then
            render_all(parts, scope, out)
        end
    end
end

-- Reads parts from `at` until the end of section `name` (nil: the end of the text).
local function parse(text, at, name)
    local parts = {}
    while true do
        local from, to, kind, field = text:find("{{([&#^/]?)%s*([%w_.]+)%s*}}", at)
        local plain = text:sub(at, (from or 0) - 1)
        if plain ~= "" then
            parts[#parts + 1] = text_part(plain)
        end
        if not from then
            if name then
                error(("template: section '%s' is not closed"):format(name), 0)
            end
            return parts, #text + 1
        end
        at = to + 1
        if kind == "/" then
            if field ~= name then
                error(("template: {{/%s}} closes nothing%s"):format(field, name and " (open: " .. name .. ")" or ""), 0)
            end
            return parts, at
        elseif kind == "#" or kind == "^" then
            local inner
            inner, at = parse(text, at, field)
            parts[#parts + 1] = (kind == "#" and section_part or inverted_part)(field, inner)
        else
            parts[#parts + 1] = field_part(field, kind == "")
        end
    end
end

-- A function that makes a page of a table of fields. Raises on a template that is not well formed.
function M.compile(text)
    local parts = parse(text, 1, nil)
    return function(fields)
        local out = {}
        render_all(parts, {fields, nil}, out)
        return table.concat(out)
    end
end

return M
