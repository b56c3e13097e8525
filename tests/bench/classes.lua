-- Who gets what at five times the capacity. Classes: gold, whose own load is half of what the stage can do, beside normal and bulk that want the
-- rest. Keys: eight that send alike, then one of them 100 times as much: what becomes of the others' latency.
local burn = require "burn"
local processes = require "processes"

local TARGET_MS <const> = 20
local MS <const> = 2
local SHARES <const> = {{"gold", 0.1}, {"normal", 0.3}, {"bulk", 0.6}} -- of five times the capacity

local controllers = {
    {name = "none"},
    {name = "codel", admission = ("{controller: codel, target: %dms}"):format(TARGET_MS)},
    {name = "response_time", admission = ("{controller: response_time, target: %dms}"):format(TARGET_MS)},
}

local function measure_classes(options, report)
    local words = {}
    for i, share in ipairs(SHARES) do
        words[i] = ("class=%s:%g"):format(share[1], share[2])
    end
    for _, c in ipairs(controllers) do
        local server = burn.start("classes", MS, {admission = c.admission, classes = {"gold", "normal", "bulk"},
            queue = "order: class", source = "class: {header: X-Class}"})
        local warm, seconds, can = options.seconds * 2, options.seconds * 4, burn.capacity(server)
        local _, classes = burn.load(server, warm + seconds, ("%g"):format(5 * can), ("warm=%g %s"):format(warm, table.concat(words, " ")))
        processes.stop(server)
        for name, r in pairs(classes) do
            report:add(c.name, name, "admitted", (r.good + r.late) / r.sent)
            report:add(c.name, name, "p90_ms", r.p90_ms)
            report:add(c.name, name, "p99_ms", r.p99_ms)
        end
    end
end

local KEYS <const> = 7
local KEYS_MS <const> = 5
local KEY_LOAD <const> = 0.05 -- of the capacity: eight of them are no overload, one of them 100 times is one of five times

-- Eight keys that send alike; `greedy`: one of them 100 times that.
local function measure_keys(options, report, queue, greedy)
    local server = burn.start("keys", KEYS_MS, {queue = queue, source = "key: {header: X-Class}"})
    local warm, seconds, can = options.seconds, options.seconds * 10, burn.capacity(server)
    local all = KEYS + (greedy and 100 or 1)
    local words = {}
    for i = 1, KEYS do
        words[i] = ("class=key%d:%g"):format(i, 1 / all)
    end
    words[KEYS + 1] = ("class=other:%g"):format(1 - KEYS / all)
    local _, keys = burn.load(server, warm + seconds, ("%g"):format(KEY_LOAD * can * all), ("warm=%g %s"):format(warm, table.concat(words, " ")))
    processes.stop(server)
    local case = (queue == "" and "plain" or "fair") .. (greedy and ", one sends 100 times as much" or ", all alike")
    for i = 1, KEYS do
        local r = keys["key" .. i]
        report:add(case, "modest", "answered", (r.good + r.late) / r.sent)
        report:add(case, "modest", "p50_ms", r.p50_ms)
        report:add(case, "modest", "p99_ms", r.p99_ms)
    end
    report:add(case, "other", "answered", (keys.other.good + keys.other.late) / keys.other.sent)
end

local function show_classes(report)
    report:say(("\nFive times what it can do: gold asks for half of that, normal for 1.5 times, bulk for 3 times. Target %d ms."):format(TARGET_MS))
    local rows = {{"", "class", "answered", "p90 ms", "p99 ms"}}
    for _, c in ipairs(controllers) do
        for _, share in ipairs(SHARES) do
            rows[#rows + 1] = {c.name, share[1], report:cell(c.name, share[1], "admitted", "%.3f"),
                report:cell(c.name, share[1], "p90_ms", "%.1f"), report:cell(c.name, share[1], "p99_ms", "%.1f")}
        end
    end
    report:print_table(rows)
end

local function show_keys(report)
    report:say(("\nEight keys, each %g of what the stage can do; then one of them 100 times that. Figures of the other seven, and of it.")
        :format(KEY_LOAD))
    local rows = {{"", "answered", "p50 ms", "p99 ms", "the eighth: answered"}}
    for _, queue in ipairs {"plain", "fair"} do
        for _, case in ipairs {queue .. ", all alike", queue .. ", one sends 100 times as much"} do
            rows[#rows + 1] = {case, report:cell(case, "modest", "answered", "%.3f"), report:cell(case, "modest", "p50_ms", "%.1f"),
                report:cell(case, "modest", "p99_ms", "%.1f"), report:cell(case, "other", "answered", "%.3f")}
        end
    end
    report:print_table(rows)
end

return function(options, report)
    for _ = 1, options.rounds do
        measure_classes(options, report)
        for _, queue in ipairs {"", "fair_by: key"} do
            measure_keys(options, report, queue, false)
            measure_keys(options, report, queue, true)
        end
    end
    show_classes(report)
    show_keys(report)
end
