-- Decides by the path which stage answers. What has no place below the root ends at `problem`.
local weir = require "weir"
local paths = require "paths"

local M = {}

local made_pages = {["/dynamic"] = "dynamic", ["/weir"] = "live"}

-- A refused emit leaves the request here, unanswered: the host then answers 503.
function M.handle(req)
    if req.method ~= "GET" and req.method ~= "HEAD" then
        weir.emit("problem", {req = req, status = 405})
        return
    end
    local encoded, query = paths.split(req.target)
    local port = made_pages[encoded]
    if port then
        weir.emit(port, {req = req, query = query})
        return
    end
    local path, status = paths.resolve(encoded)
    if path then
        weir.emit("cache", {req = req, path = path})
    else
        weir.emit("problem", {req = req, status = status})
    end
end

return M
