-- What a refused request costs beside a served one, and how fast it is refused while the handlers of another pool are busy.
-- The event-driven worker has CPU 0 for itself; the busy thread and the client share CPU 1, the client first.
local place = require "place"
local processes = require "processes"
local wrk = require "wrk"

local cases = {
    {name = "served, 64 connections", path = "/x", connections = 64},
    {name = "refused, 64 connections", path = "/slow", connections = 64},
    {name = "served, 8 connections", path = "/x", connections = 8},
    {name = "refused, 8 connections", path = "/slow", connections = 8},
}

-- CPU time by thread between two readings, in ns by thread id.
local function difference(before, after)
    local spent = {}
    for _, thread in ipairs(before) do
        spent[thread.id] = -thread.ns
    end
    for _, thread in ipairs(after) do
        spent[thread.id] = (spent[thread.id] or 0) + thread.ns
    end
    return spent
end

local function busiest(spent, except)
    local best
    for id, ns in pairs(spent) do
        if id ~= except and (not best or ns > spent[best]) then
            best = id
        end
    end
    return best
end

-- Finds the two workers by what they do under load, and pins them apart.
local function part_threads(server)
    local before = processes.threads(server)
    wrk.run(server, {connections = 64, seconds = 1, path = "/x"}, 0)
    local main = busiest(difference(before, processes.threads(server)))
    before = processes.threads(server)
    wrk.run(server, {connections = 8, seconds = 1, path = "/slow"}, 0)
    local slow = busiest(difference(before, processes.threads(server)), main)
    place.shell(("taskset -p -c 0 %d >/dev/null && taskset -p -c 1 %d >/dev/null && renice -n 10 -p %d >/dev/null"):format(
        main, slow, slow))
    return main
end

return function(options, report)
    local server = processes.start_weir("refuse", place.bench .. "/apps/refuse")
    local main = part_threads(server)
    for _ = 1, options.rounds do
        for _, case in ipairs(cases) do
            local before = processes.threads(server)
            local result = wrk.run(server, {connections = case.connections, seconds = options.seconds, path = case.path}, 0)
            wrk.record(report, case.name, "weir", result)
            local spent = difference(before, processes.threads(server))
            report:add(case.name, "weir", "main_us", spent[main] / result.requests / 1000)
            report:add(case.name, "weir", "refused_share", result.refused / result.requests)
        end
    end
    report:say("Two hops (web, route, then hello or the full queue), CPU of the worker that has the connections.")
    local rows = {{"", "CPU µs/request", "req/s", "refused %", "p50 µs", "p99 µs"}}
    for _, case in ipairs(cases) do
        local function cell(metric, format, scale)
            return report:cell(case.name, "weir", metric, format, scale)
        end
        rows[#rows + 1] = {case.name, cell("main_us", "%.2f"), cell("rate", "%.0f"), cell("refused_share", "%.2f", 100),
            cell("p50_us", "%.0f"), cell("p99_us", "%.0f")}
    end
    report:print_table(rows)
end
