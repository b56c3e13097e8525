-- /weir: the queues and ledgers of all stages as they are now; the page loads itself again each second.
local weir = require "weir"
local httpdate = require "httpdate"
local render = require("template").compile(require "live_html")

local M = {}

local stages

function M.init(ctx)
    stages = ctx.config.stages
    for _, name in ipairs(stages) do
        weir.queue(name) -- a wrong name shows now, not when somebody looks
    end
end

local function microseconds(seconds)
    return ("%.0f"):format(seconds * 1e6)
end

local function row(name)
    local q = weir.queue(name)
    return {
        name = name,
        depth = q.depth,
        capacity = q.capacity,
        fill = math.min(100, 100 * q.depth // q.capacity),
        offered = q.offered,
        rejected = q.rejected,
        accepted = q.accepted,
        handled = q.handled,
        failed = q.failed,
        expired = q.expired,
        dropped = q.dropped,
        running = q.running,
        wait_p50 = microseconds(q.wait_p50),
        wait_p99 = microseconds(q.wait_p99),
        rate = ("%.0f"):format(q.rate),
    }
end

function M.handle(event)
    local rows = {}
    for i, name in ipairs(stages) do
        rows[i] = row(name)
    end
    local body = render {rows = rows, time = httpdate.format(weir.time())}
    event.req:reply(200, {["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store"}, body)
end

return M
