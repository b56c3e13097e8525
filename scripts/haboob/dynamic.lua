-- /dynamic: a page made for each request from a template.
local weir = require "weir"
local httpdate = require "httpdate"
local paths = require "paths"
local render = require("template").compile(require "dynamic_html")

local M = {}

local worker, made = 0, 0

function M.init(ctx)
    worker = ctx.worker
end

function M.handle(event)
    local req = event.req
    made = made + 1
    local fields = {}
    for name, value in pairs(paths.query(event.query)) do
        fields[#fields + 1] = {name = name, value = value}
    end
    table.sort(fields, function(a, b)
        return a.name < b.name
    end)
    local body = render {
        name = paths.query(event.query).name or "stranger",
        time = httpdate.format(weir.time()),
        agent = req.headers["user-agent"],
        client = req.remote,
        fields = fields,
        worker = worker,
        made = made,
        age_us = ("%.0f"):format(req:age() * 1e6),
    }
    req:reply(200, {["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store"}, body)
end

return M
