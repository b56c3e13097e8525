-- From a request's target to a file below the root, or a refusal. Each percent sign is decoded once, and what could leave the
-- root or mean two things is refused instead of mended.
local M = {}

local MAX_LENGTH = 1024

local function decode(text)
    if text:find("%%%X") or text:find("%%%x%X") or text:find("%%%x?$") then
        return nil
    end
    return (text:gsub("%%(%x%x)", function(hex)
        return string.char(tonumber(hex, 16))
    end))
end

local function check_segments(path)
    for segment in path:gmatch("[^/]+") do
        if segment:sub(1, 1) == "." then
            return nil, segment:find("^%.%.?$") and 400 or 404 -- '.' and '..'; hidden files are nobody's business
        end
    end
    return true
end

-- The path of `target` ("/a%20b?x=1" or "http://host/a"), still encoded, and its query or nil.
function M.split(target)
    local rest = target:gsub("^[hH][tT][tT][pP][sS]?://[^/?#]*", "")
    rest = rest:gsub("#.*$", "")
    local path, query = rest:match("^([^?]*)%??(.*)$")
    if path == "" then
        path = "/"
    end
    return path, query ~= "" and query or nil
end

-- The file below the root that an encoded path means: "a b/index.html"; on refusal nil and the status to answer with.
function M.resolve(encoded)
    if #encoded > MAX_LENGTH then
        return nil, 414
    end
    if encoded:sub(1, 1) ~= "/" or encoded:find("%%2[fF]") or encoded:find("%%5[cC]") then
        return nil, 400
    end
    local path = decode(encoded)
    if not path or path:find("[%c\\]") then -- %c: NUL, new lines and the like
        return nil, 400
    end
    if path:find("//", 1, true) then
        return nil, 404
    end
    local ok, status = check_segments(path)
    if not ok then
        return nil, status
    end
    path = path:sub(2)
    if path == "" or path:sub(-1) == "/" then
        path = path .. "index.html"
    end
    return path
end

-- The fields of a query ("a=1&b=x+y") as a table; of repeated ones the last counts, malformed escapes stay as they are.
function M.query(text)
    local fields = {}
    for name, value in (text or ""):gmatch("([^&=]+)=?([^&]*)") do
        local key, plain = name:gsub("+", " "), value:gsub("+", " ")
        fields[decode(key) or key] = decode(plain) or plain
    end
    return fields
end

return M
