-- What to answer a GET or HEAD for a page that is in memory: whole, a part of it, or "you have it".
-- A page: {body, etag, modified, headers} (see M.page), made of values that travel.
-- RFC 9110 sections 13 (conditions) and 14 (ranges).
local mime = require "mime"
local etag = require "etag"
local httpdate = require "httpdate"

local M = {}

-- The page of a file's bytes; `modified` is when it last changed, in seconds since 1970, or nil when that is not known.
function M.page(path, body, modified)
    local tag = etag.of(body)
    return {
        body = body,
        etag = tag,
        modified = modified and modified // 1 | 0,
        headers = {
            ["content-type"] = mime.of(path),
            ["etag"] = tag,
            ["last-modified"] = modified and httpdate.format(modified),
            ["accept-ranges"] = "bytes",
        },
    }
end

-- Whether a list of tags ('"a", W/"b"' or '*') names `tag`; weak comparison, as If-None-Match wants it.
function M.names(list, tag)
    if list:find("^%s*%*%s*$") then
        return true
    end
    for one in list:gmatch('"[^"]*"') do
        if one == tag then
            return true
        end
    end
    return false
end

-- Of "bytes=…": the first and last position; nil when it is to be ignored; false when no byte of `size` is in it.
function M.range(text, size)
    local from, to = text:match("^%s*bytes%s*=%s*(%d*)%s*%-%s*(%d*)%s*$")
    if not from or (from == "" and to == "") or #from > 15 or #to > 15 then
        return nil
    end
    if from == "" then -- the last so many bytes
        local count = math.min(tonumber(to), size)
        if count == 0 then
            return false
        end
        return size - count, size - 1
    end
    local first, last = tonumber(from), tonumber(to) or size - 1
    if to ~= "" and last < first then
        return nil
    end
    if first >= size then
        return false
    end
    return first, math.min(last, size - 1)
end

-- The client's copy is the page of today.
local function client_has(headers, page)
    local tags = headers["if-none-match"]
    if tags then
        return M.names(tags, page.etag)
    end
    local since = page.modified and headers["if-modified-since"]
    local time = since and httpdate.parse(since)
    return time and page.modified <= time or false
end

local function with(headers, name, value)
    local copy = {}
    for k, v in pairs(headers) do
        copy[k] = v
    end
    copy[name] = value
    return copy
end

local function part(headers, page, text)
    local size = #page.body
    local condition = headers["if-range"]
    if condition and condition ~= page.etag and condition ~= page.headers["last-modified"] then
        return 200, page.headers, page.body
    end
    local first, last = M.range(text, size)
    if first == nil then
        return 200, page.headers, page.body
    elseif first == false then
        return 416, {["content-range"] = "bytes */" .. size, ["content-type"] = "text/plain; charset=utf-8"},
            "no such part\n"
    end
    return 206, with(page.headers, "content-range", ("bytes %d-%d/%d"):format(first, last, size)),
        page.body:sub(first + 1, last + 1)
end

-- Status, headers and body for a request with these header fields.
function M.make(method, headers, page)
    if client_has(headers, page) then
        return 304, page.headers, nil
    end
    local range = method == "GET" and headers["range"]
    if range then
        return part(headers, page, range)
    end
    return 200, page.headers, page.body
end

return M
