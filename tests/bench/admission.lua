-- A handler that burns 5 ms, one worker, ever more requests: what is answered in time with each admission controller and without one, and how
-- soon the rest is refused. Then a step from 0.7 to 1.4 of what a handler of 1 ms can do, and back: how long until it is on target again.
-- The server has CPU 0, the client CPU 1; each request is a connection of its own and comes when it is due, answered or not (open_loop.c).
local cjson = require "cjson"
local place = require "place"
local processes = require "processes"
local wrk = require "wrk"

local LOADS <const> = {0.5, 1, 2, 4, 10}
local TARGET_MS <const> = 20
local STEP_TARGET_MS <const> = 5

local controllers = {
    {name = "none"},
    {name = "codel", admission = ("{controller: codel, target: %dms}"):format(TARGET_MS)},
    {name = "response_time", admission = ("{controller: response_time, target: %dms}"):format(TARGET_MS)},
    {name = "gradient", admission = "gradient"},
    {name = "token_bucket"}, -- its rate is what was measured
}

local steps = {
    {name = "codel", admission = ("{controller: codel, target: %dms}"):format(STEP_TARGET_MS)},
    {name = "response_time", admission = ("{controller: response_time, target: %dms}"):format(STEP_TARGET_MS)},
    {name = "SEDA's constants",
        admission = ("{controller: response_time, target: %dms, smoothing: 0.7, probe: 0.005, max_rate: 5000}"):format(STEP_TARGET_MS)},
}

-- A loop that takes `ms` of CPU time here, counted out when the VM is made.
local handler = [[
local weir = require "weir"
local rounds
local function burn(n)
    local x = 0
    for i = 1, n do
        x = (x * 31 + i) %% 65521
    end
    return x
end
return {
    init = function()
        local best = math.huge
        for _ = 1, 20 do
            local began = weir.now()
            burn(100000)
            best = math.min(best, weir.now() - began)
        end
        rounds = 100000 / best * %g // 1
    end,
    handle = function(req)
        burn(rounds)
        req:reply(200, "done\n")
    end,
}
]]

local function start(name, ms, admission)
    local yaml = ('weir: 1\nname: %s\npools: {main: {threads: 1}}\nstages:\n  web: {source: http, listen: "127.0.0.1:${PORT}", to: page}\n'
        .. "  page: {handler: page.lua, queue: {order: adaptive}%s}\n"):format(name, admission and ", admission: " .. admission or "")
    local folder = place.make_app("admission-" .. name, {["weir.yaml"] = yaml, ["page.lua"] = handler:format(ms / 1000)})
    return processes.start_weir("admission", folder, {cpu = 0})
end

-- Requests a second that it answers when never idle.
local function capacity(ms)
    local server = start("capacity", ms)
    local result = wrk.run(server, {connections = 4, seconds = 3}, 0)
    processes.stop(server)
    return result.requests / 3
end

local function load(server, seconds, rates, rest)
    local text = place.capture(("taskset -c 1 %s %d %g %s poisson %s"):format(place.compile("open_loop"), server.port, seconds, rates,
        rest or ""))
    return cjson.decode(text:match("[^\n]+"))
end

local function measure(options, report, can)
    for _, c in ipairs(controllers) do
        local bucket = ("{controller: token_bucket, rate: %.0f, burst: 4}"):format(0.97 * can)
        local admission = c.name == "token_bucket" and bucket or c.admission
        for _, times in ipairs(LOADS) do
            local server = start("load", 5, admission)
            local warm, seconds = options.seconds * 1.5, options.seconds * 3
            local r = load(server, warm + seconds, ("%g"):format(can * times), ("warm=%g"):format(warm))
            processes.stop(server)
            local case = ("%g x"):format(times)
            report:add(case, c.name, "good", r.good_rate / can)
            report:add(case, c.name, "p90_ms", r.p90_ms)
            report:add(case, c.name, "refused_p99_ms", r.refused_p99_ms)
            report:add(case, c.name, "lost", (r.failed + r.unfinished) / r.sent)
        end
    end
end

local function show(report)
    report:say(("\nOffered, in multiples of what it can do: answered within 200 ms as a share of that; p90 of the answers, ms; "
        .. "p99 of the refusals, ms; share that failed. Target %d ms."):format(TARGET_MS))
    for _, times in ipairs(LOADS) do
        local case = ("%g x"):format(times)
        local rows = {{case, "good", "p90 ms", "refusals p99 ms", "failed"}}
        for _, c in ipairs(controllers) do
            rows[#rows + 1] = {c.name, report:cell(case, c.name, "good", "%.2f"), report:cell(case, c.name, "p90_ms", "%.1f"),
                report:cell(case, c.name, "refused_p99_ms", "%.1f"), report:cell(case, c.name, "lost", "%.3f")}
        end
        report:print_table(rows)
    end
end

-- Lines of 50 ms each: when, offered, good, refused, p90.
local function read_series(path)
    local series = {}
    for line in io.lines(path) do
        local at, offered, good, refused, p90 = line:match("(%S+)\t(%S+)\t(%S+)\t(%S+)\t(%S+)")
        series[#series + 1] = {at = tonumber(at), offered = tonumber(offered), good = tonumber(good), refused = tonumber(refused),
            p90 = tonumber(p90) < 0 and math.huge or tonumber(p90)} -- nothing was answered: that is no target met
    end
    return series
end

-- Seconds after `from` until p90 is at or below `bound` for half a second.
local function back_after(series, from, bound)
    local calm
    for _, slot in ipairs(series) do
        if slot.at > from then
            if slot.p90 > bound then
                calm = nil
            else
                calm = calm or slot.at - 0.05
                if slot.at - calm >= 0.5 then
                    return calm - from
                end
            end
        end
    end
    return math.huge
end

-- Seconds after `from` until the last refusal.
local function last_refusal(series, from)
    local last = 0
    for _, slot in ipairs(series) do
        if slot.at > from and slot.refused > 0 then
            last = slot.at - from
        end
    end
    return last
end

-- The least and the most that was good in half a second, as shares of the mean.
local function swing(series, from, to)
    local sums, all, n = {}, 0, 0
    for _, slot in ipairs(series) do
        if slot.at > from and slot.at <= to then
            local i = (slot.at - from - 0.001) // 0.5 + 1
            sums[i] = (sums[i] or 0) + slot.good
            all, n = all + slot.good, n + 1
        end
    end
    local mean, least, most = all / n * 10, math.huge, 0
    for _, sum in pairs(sums) do
        least, most = math.min(least, sum), math.max(most, sum)
    end
    return least / mean, most / mean
end

local function measure_steps(report)
    local can = capacity(1)
    for _, s in ipairs(steps) do
        local server = start("step", 1, s.admission)
        local path = place.out .. "/admission-series.tsv"
        load(server, 16, ("%g,5:%g,11:%g"):format(0.7 * can, 1.4 * can, 0.7 * can), "series=" .. path)
        processes.stop(server)
        local series = read_series(path)
        local least, most = swing(series, 7, 11)
        report:add("step", s.name, "back_s", back_after(series, 5, 1.2 * STEP_TARGET_MS))
        report:add("step", s.name, "open_s", last_refusal(series, 11))
        report:add("step", s.name, "least", least)
        report:add("step", s.name, "most", most)
    end
end

local function show_steps(report)
    report:say(("\nFrom 0.7 to 1.4 of what a handler of 1 ms can do and, 6 s later, back; target %d ms."):format(STEP_TARGET_MS))
    local rows = {{"", "s until p90 is at 1.2 x target or less", "s until nothing is refused", "goodput in steady load: least / most"}}
    for _, s in ipairs(steps) do
        rows[#rows + 1] = {s.name, report:cell("step", s.name, "back_s", "%.2f"), report:cell("step", s.name, "open_s", "%.2f"),
            report:cell("step", s.name, "least", "%.2f") .. " / " .. report:cell("step", s.name, "most", "%.2f")}
    end
    report:print_table(rows)
end

return function(options, report)
    local can = capacity(5)
    report:say(("it can do %.0f a second"):format(can))
    for _ = 1, options.rounds do
        measure(options, report, can)
        measure_steps(report)
    end
    show(report)
    show_steps(report)
end
