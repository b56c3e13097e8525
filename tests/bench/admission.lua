-- A handler that burns 5 ms, one worker, ever more requests: what is answered in time with each admission controller,
-- without one, and by others' servers, and how soon the rest is refused. Then a step from 0.7 to 1.4 of what a handler of 1 ms can do,
-- and back: how long until it is on target again.
-- The server has CPU 0, the client CPU 1; each request is a connection of its own and comes when it is due, answered or not (open_loop.c).
local burn = require "burn"
local processes = require "processes"
local recovery = require "recovery"

local LOADS <const> = {0.5, 1, 2, 4, 10}
local TARGET_MS <const> = 20
local RATE <const> = 0.95 -- of a token bucket: as a share of what was measured

local controllers = {
    {name = "none"},
    {name = "codel", admission = ("{controller: codel, target: %dms}"):format(TARGET_MS)},
    {name = "response_time", admission = ("{controller: response_time, target: %dms}"):format(TARGET_MS)},
    {name = "gradient", admission = "gradient"},
    {name = "token_bucket", admission = "{controller: token_bucket, rate: 1000000, burst: 4}", at_rate = true},
}

-- What a server can do is measured before and after: its loop is counted out when it starts, and the machine is not
-- always as fast. When the two are far
-- apart the load is done again, `patience` times.
local function load_once(options, subject, times)
    local server = subject.start(5)
    local before = burn.capacity(server)
    if subject.at_rate then
        burn.set(server, "stages.page.admission.rate", ("%.0f"):format(RATE * before))
    end
    local warm, seconds = options.seconds * 1.5, options.seconds * 3
    local r = burn.load(server, warm + seconds, ("%g"):format(before * times), ("warm=%g"):format(warm))
    if subject.at_rate then
        burn.set(server, "stages.page.admission.rate", "1000000")
    end
    local answers, after = pcall(burn.capacity, server) -- one that has a backlog may have none for so long
    after = answers and after or before
    processes.stop(server)
    return r, (before + after) / 2, math.abs(before - after) / (before + after)
end

local function measure_one(options, report, subject)
    local name = subject.name
    for _, times in ipairs(LOADS) do
        if #options.words == 0 or options.loads[times] then
            local r, can, off
            local tries = 0
            repeat
                r, can, off = load_once(options, subject, times)
                tries = tries + 1
            until off < 0.03 or tries > options.patience
            local case = ("%g x"):format(times)
            report:add(case, name, "good", r.good_rate / can)
            report:add(case, name, "p90_ms", r.p90_ms)
            report:add(case, name, "refused_p99_ms", r.refused_p99_ms)
            report:add(case, name, "lost", (r.failed + r.unfinished) / r.sent)
            report:add(case, name, "can", can)
            report:add(case, name, "off", off)
        end
    end
end

local function measure(options, report)
    for _, c in ipairs(controllers) do
        c.start = function(ms) return burn.start("load", ms, {admission = c.admission}) end
        measure_one(options, report, c)
    end
    for _, peer in ipairs(burn.peers) do
        if peer.is_there() then
            measure_one(options, report, peer)
        else
            report:say(peer.name .. " is not installed: left out")
        end
    end
end

local function show(report)
    report:say(("\nOffered, in multiples of what it can do: answered within 200 ms as a share of that; p90 of the answers, ms; "
        .. "p99 of the refusals, ms; share that failed. Target %d ms."):format(TARGET_MS))
    local subjects = table.move(controllers, 1, #controllers, 1, {})
    table.move(burn.peers, 1, #burn.peers, #subjects + 1, subjects)
    for _, times in ipairs(LOADS) do
        local case = ("%g x"):format(times)
        local rows = {{case, "good", "p90 ms", "refusals p99 ms", "failed"}}
        for _, c in ipairs(subjects) do
            rows[#rows + 1] = {c.name, report:cell(case, c.name, "good", "%.2f"), report:cell(case, c.name, "p90_ms", "%.1f"),
                report:cell(case, c.name, "refused_p99_ms", "%.1f"), report:cell(case, c.name, "lost", "%.3f")}
        end
        report:print_table(rows)
    end
end

-- `run admission 2 10` does these loads alone.
return function(options, report)
    options.loads = {}
    for _, word in ipairs(options.words) do
        options.loads[tonumber(word) or word] = true
    end
    for _ = 1, options.rounds do
        measure(options, report)
        recovery.measure(report)
    end
    show(report)
    recovery.show(report)
end
