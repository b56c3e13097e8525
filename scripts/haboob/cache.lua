-- The page cache, one per worker. Two kinds of events come: {req, path} asks for a page, {path, page} brings one from the disk.
local weir = require "weir"
local answer = require "answer"
local lru = require "lru"

local M = {}

local pages, fresh

function M.init(ctx)
    pages = lru.new(tonumber(ctx.config.mebibytes) * 1024 * 1024 // 1 | 0)
    fresh = ctx.config.fresh_seconds
end

local function keep(path, page)
    page.until_time = weir.now() + fresh
    pages:put(path, page, #page.body)
end

function M.handle(event)
    if event.page then
        return keep(event.path, event.page)
    end
    local page = pages:get(event.path)
    if page and weir.now() < page.until_time then
        local req = event.req
        req:reply(answer.make(req.method, req.headers, page))
    else
        weir.emit("miss", event) -- refused: the host answers 503
    end
end

return M
