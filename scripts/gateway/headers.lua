-- What of a head goes on to the next hop (RFC 9110, 7.6.1).
-- luacheck: no max line length
local M = {}

local HOP <const> = {
    connection = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["proxy-authenticate"] = true, ["proxy-authorization"] = true,
    te = true, trailer = true, ["transfer-encoding"] = true, upgrade = true,
    -- these are the host's to say, on either side
    ["content-length"] = true, expect = true,
}
local FROM_PEER <const> = {date = true}

local function named_by_connection(headers)
    local value = headers.connection
    if not value then
        return nil
    end
    local names = {}
    for name in value:lower():gmatch "[^%s,]+" do
        names[name] = true
    end
    return names
end

-- The headers of a request for the upstream, with where it came from.
function M.to_upstream(req, keep_host)
    local from = req.headers
    local named = named_by_connection(from)
    local headers = {}
    for name, value in pairs(from) do
        local lower = name:lower()
        if not HOP[lower] and not (named and named[lower]) and lower ~= "host" then
            headers[lower] = value
        end
    end
    local client = req.remote:match "^%[?(.-)%]?:%d+$" or req.remote
    local before = headers["x-forwarded-for"]
    headers["x-forwarded-for"] = before and before .. ", " .. client or client
    headers["x-forwarded-proto"] = req.scheme
    headers["x-forwarded-host"] = from.host
    if keep_host then
        headers.host = from.host
    end
    return headers
end

-- The headers of an answer for the client.
function M.to_client(answer)
    local named = named_by_connection(answer.headers)
    local headers = {}
    for name, value in pairs(answer.headers) do
        if not HOP[name] and not FROM_PEER[name] and not (named and named[name]) then
            headers[name] = value
        end
    end
    if #answer.cookies > 0 then
        headers["set-cookie"] = answer.cookies
    end
    return headers
end

return M
