-- The files of the source tree that belong to it: what git has or would take, read once.
-- A file: {path, text, lines, kind = "c" | "h" | "lua" | "sh" | "other"}; of C also `code`, its lines without comments and
-- strings, and `includes`, the same with strings.
local M = {}

local function kind_of(path, text)
    local suffix = path:match("%.([%w]+)$")
    if suffix == "c" or suffix == "h" or suffix == "lua" then
        return suffix
    end
    local first = text:match("^#![^\n]*") or ""
    if first:find("lua") then
        return "lua"
    end
    return first:find("sh$") and "sh" or "other"
end

local function split(text)
    local lines = {}
    for line in (text:gsub("\n$", "") .. "\n"):gmatch("(.-)\n") do
        lines[#lines + 1] = line
    end
    return lines
end

-- C source with comments, strings and characters blanked; line breaks stay. `strings`: keep strings (for #include "…").
local function strip(text, strings)
    local out, at = {}, 1
    local function keep_lines(piece)
        return (piece:gsub("[^\n]", " "))
    end
    while at <= #text do
        local from, to = text:find("[/\"']", at)
        if not from then
            out[#out + 1] = text:sub(at)
            break
        end
        out[#out + 1] = text:sub(at, from - 1)
        local two, quote = text:sub(from, from + 1), text:sub(from, from)
        if two == "/*" then
            to = select(2, text:find("*/", from + 2, true)) or #text
            out[#out + 1] = keep_lines(text:sub(from, to))
        elseif two == "//" then
            to = (text:find("\n", from, true) or #text + 1) - 1
        elseif quote == "/" then
            out[#out + 1] = "/"
        else
            to = from + 1
            while to <= #text and text:sub(to, to) ~= quote do
                to = to + (text:sub(to, to) == "\\" and 2 or 1)
            end
            local piece = text:sub(from, to)
            out[#out + 1] = (strings and quote == '"') and piece or quote .. keep_lines(piece:sub(2, -2)) .. quote
        end
        at = to + 1
    end
    return table.concat(out)
end

function M.file(path, text)
    local one = {path = path, text = text, kind = kind_of(path, text), lines = split(text)}
    if one.kind == "c" or one.kind == "h" then
        one.code = split(strip(text, false))
        one.includes = split(strip(text, true))
    end
    return one
end

function M.read(top)
    local files = {top = top}
    local list = assert(io.popen(("cd '%s' && git ls-files --cached --others --exclude-standard"):format(top)))
    for path in list:lines() do
        local file = io.open(top .. "/" .. path, "rb")
        local text = file and file:read("a")
        if file then
            file:close()
        end
        if text then -- else deleted in the working tree
            files[#files + 1] = M.file(path, text)
        end
    end
    assert(list:close(), "git ls-files failed")
    assert(#files > 0, "no files found: is this a git checkout?")
    return files
end

return M
