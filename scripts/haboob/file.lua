-- Reads files; runs in a blocking pool. A small one is answered and then handed to the cache, a large one is sent by the host.
local weir = require "weir"
local lfs = require "lfs"
local answer = require "answer"
local mime = require "mime"
local paths = require "paths"

local M = {}

local root, large

-- Error numbers of stat(2) and open(2) on Linux.
local EACCES <const> = 13
local absent = {[2] = true, [20] = true, [36] = true, [40] = true} -- ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP

function M.init(ctx)
    root, large = ctx.config.root, ctx.config.large_kibibytes * 1024
    if not lfs.attributes(root .. "/index.html") then
        weir.log.warn("no index.html in the root; scripts/haboob/make-files makes a site", {root = root})
    end
end

local function refuse(req, path, message, code)
    if absent[code] then
        weir.emit("problem", {req = req, status = 404})
    elseif code == EACCES then
        weir.emit("problem", {req = req, status = 403})
    else
        weir.log.error("cannot read a file", {path = path, reason = message})
        weir.emit("problem", {req = req, status = 500})
    end
end

local function redirect(req)
    local path, query = paths.split(req.target)
    local place = path .. "/" .. (query and "?" .. query or "")
    req:reply(301, {location = place, ["content-type"] = "text/plain; charset=utf-8"}, "see " .. place .. "\n")
end

local function read(req, path, modified)
    local file <close>, message, code = io.open(root .. "/" .. path, "rb")
    if not file then
        return refuse(req, path, message, code)
    end
    local body, unread, reason = file:read("a")
    if not body then
        return refuse(req, path, unread, reason)
    end
    local page = answer.page(path, body, modified)
    req:reply(answer.make(req.method, req.headers, page))
    weir.emit("fill", {path = path, page = page})
end

function M.handle(event)
    local req, path = event.req, event.path
    local found, message, code = lfs.attributes(root .. "/" .. path)
    if not found then
        refuse(req, path, message, code)
    elseif found.mode == "directory" then
        redirect(req)
    elseif found.mode ~= "file" then
        weir.emit("problem", {req = req, status = 404})
    elseif found.size >= large then
        req:reply {root = root, file = path, headers = {["content-type"] = mime.of(path)}}
    else
        read(req, path, found.modification)
    end
end

return M
