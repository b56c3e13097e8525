-- A line of text to an event that the rest of the graph can count: checked, and enriched with what is known of its service.
local weir = require "weir"

local services = weir.shared("services")
local M = {}

local function load_services()
    local text, why = weir.fs.read("services.json")
    if not text then
        return weir.log.warn("the list of services can't be read", {why = why})
    end
    local ok, list = pcall(weir.json.decode, text)
    if not ok then
        return weir.log.warn("the list of services is not JSON", {why = list})
    end
    for name, about in pairs(list) do
        services:set(name, about)
    end
end

function M.init()
    weir.fiber(load_services)
    weir.timer(10, load_services, {every = true})
end

-- "2026-11-23T02:04:05Z" to its minute, "2026-11-23T02:04"; numbers are seconds since 1970.
local function minute_of(time)
    local seconds = math.type(time) and math.tointeger(time // 1)
    if seconds then
        local ok, minute = pcall(os.date, "!%Y-%m-%dT%H:%M", seconds)
        return ok and minute
    end
    return type(time) == "string" and time:match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d")
end

function M.handle(line)
    local ok, entry = pcall(weir.json.decode, line)
    local minute = ok and type(entry) == "table" and minute_of(entry.time)
    if not minute or type(entry.service) ~= "string" then
        weir.emit("bad", line)
        return
    end
    local about = services:get(entry.service) or {}
    weir.emit("out", {
        minute = minute,
        service = entry.service,
        team = about.team or "unknown",
        failed = (math.type(entry.status) and entry.status or 0) >= 500,
        bytes = math.type(entry.bytes) and math.tointeger(entry.bytes) or 0,
    })
end

return M
