-- A step of load from 0.7 to 1.4 of what a handler of 1 ms can do and, 6 s later, back: how long until answers are on target again, until nothing is
-- refused any more, and how much goodput swings in between.
local burn = require "burn"
local place = require "place"
local processes = require "processes"

local M = {}

local TARGET_MS <const> = 5
local UP <const>, DOWN <const>, SECONDS <const> = 5, 11, 16

M.controllers = {
    {name = "codel", admission = ("{controller: codel, target: %dms}"):format(TARGET_MS), beside_ms = 1}, -- its target is of the queue alone
    {name = "response_time", admission = ("{controller: response_time, target: %dms}"):format(TARGET_MS)},
    {name = "SEDA's constants",
        admission = ("{controller: response_time, target: %dms, smoothing: 0.7, probe: 0.005, max_rate: 5000}"):format(TARGET_MS)},
}

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

-- Seconds after `from` until p90, as a mean over 200 ms, is at or below `bound` for half a second.
local function back_after(series, from, bound)
    local calm
    for i, slot in ipairs(series) do
        if slot.at > from then
            local sum = 0
            for k = math.max(1, i - 3), i do
                sum = sum + series[k].p90 / math.min(i, 4)
            end
            if sum > bound then
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

-- `on_series(name, series)`, if given, gets each run's series: a list of {at, offered, good, refused, p90}.
function M.measure(report, on_series)
    local idle = burn.start("capacity", 1)
    local can = burn.capacity(idle)
    processes.stop(idle)
    for _, s in ipairs(M.controllers) do
        local server = burn.start("step", 1, {admission = s.admission})
        local path = place.out .. "/admission-series.tsv"
        burn.load(server, SECONDS, ("%g,%g:%g,%g:%g"):format(0.7 * can, UP, 1.4 * can, DOWN, 0.7 * can), "series=" .. path)
        processes.stop(server)
        local series = read_series(path)
        if on_series then
            on_series(s.name, series)
        end
        local least, most = swing(series, UP + 2, DOWN)
        report:add("step", s.name, "back_s", back_after(series, UP, 1.2 * TARGET_MS + (s.beside_ms or 0)))
        report:add("step", s.name, "open_s", last_refusal(series, DOWN))
        report:add("step", s.name, "least", least)
        report:add("step", s.name, "most", most)
    end
end

function M.show(report)
    report:say(("\nFrom 0.7 to 1.4 of what a handler of 1 ms can do and, 6 s later, back; target %d ms."):format(TARGET_MS))
    local rows = {{"", "s until p90 is at 1.2 x target or less", "s until nothing is refused", "goodput in steady load: least / most"}}
    for _, s in ipairs(M.controllers) do
        rows[#rows + 1] = {s.name, report:cell("step", s.name, "back_s", "%.2f"), report:cell("step", s.name, "open_s", "%.2f"),
            report:cell("step", s.name, "least", "%.2f") .. " / " .. report:cell("step", s.name, "most", "%.2f")}
    end
    report:print_table(rows)
end

return M
