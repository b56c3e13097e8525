-- Answers every request with a greeting.
local weir = require "weir"

local M = {}
local greeting = "hello"

function M.init(ctx)
    greeting = ctx.config and ctx.config.greeting or greeting
end

function M.handle(req)
    weir.log.info("greeted", {path = req.path, client = req.remote})
    req:reply(200, {["content-type"] = "text/plain; charset=utf-8"}, greeting .. " " .. req.path .. "\n")
end

return M
