-- Counts per service and minute, in a table that all workers share; a minute that is over is written out by whoever
-- takes it first.
local weir = require "weir"

local minutes = weir.shared("minutes")
local M, grace, keep = {}, 2, 60

local FIELDS <const> = {"lines", "failed", "bytes"}

-- Takes a count away, exactly once over all workers: nil when another was quicker.
local function take(key)
    while true do
        local value = minutes:get(key)
        if not value then
            return nil
        end
        if minutes:cas(key, value, nil) then
            return value
        end
    end
end

local function write_out(minute, service, team)
    local record = {minute = minute, service = service, team = team}
    local found = false
    for _, field in ipairs(FIELDS) do
        local value = take(("open\t%s\t%s\t%s\t%s"):format(field, minute, team, service))
        record[field] = value or 0
        found = found or value ~= nil
    end
    if not found then
        return
    end
    weir.emit("out", record)
    for _, field in ipairs(FIELDS) do -- for the page; late lines of the minute add to it
        minutes:incr(("done\t%s\t%s\t%s\t%s"):format(field, minute, team, service), record[field], 0, {ttl = keep * 60})
    end
end

local function flush()
    local now = os.date("!%Y-%m-%dT%H:%M", math.tointeger((weir.time() - grace) // 1))
    for key in minutes:pairs() do
        local minute, team, service = key:match("^open\tlines\t([^\t]*)\t([^\t]*)\t(.*)$")
        if minute and minute < now then
            write_out(minute, service, team)
        end
    end
end

function M.init(ctx)
    grace, keep = ctx.config.grace or grace, ctx.config.keep or keep
    weir.timer(1, flush, {every = true})
end

function M.handle(entry)
    local function add(field, n)
        return assert(minutes:incr(("open\t%s\t%s\t%s\t%s"):format(field, entry.minute, entry.team, entry.service), n))
    end
    add("bytes", entry.bytes)
    add("failed", entry.failed and 1 or 0)
    add("lines", 1) -- last: the flush looks for this one
end

return M
