-- The packet router of the SEDA paper (section 5.2): packets at a fixed rate, 15 % of them queries that hold a thread of
-- a blocking pool for 20 ms. How long pings and queries take, with one thread and with five; and a soak at ten times the
-- rate with forty.
local processes = require "processes"
local swarm = require "swarm"

local function measure(report, threads, rate, seconds)
    local server = swarm.start(threads)
    local case, subject = rate .. " packets/s", threads .. " threads"
    swarm.load(server.port, rate, 0.3)
    local before = processes.memory(server, "Rss")
    local pings, queries, lost = swarm.load(server.port, rate, seconds)
    local mean, p99, most = swarm.sum_up(pings)
    report:add(case, subject, "ping mean", mean)
    report:add(case, subject, "ping p99", p99)
    report:add(case, subject, "ping max", most)
    mean, p99, most = swarm.sum_up(queries)
    report:add(case, subject, "query mean", mean)
    report:add(case, subject, "query p99", p99)
    report:add(case, subject, "query max", most)
    report:add(case, subject, "unanswered", lost)
    report:add(case, subject, "grown", processes.memory(server, "Rss") - before)
    processes.stop(server)
end

local SOAK <const> = {rate = 10000, threads = 40, parts = 5}

-- One server under load for `seconds`, in parts: what it has grown by since the first one says whether it goes on.
local function soak(report, seconds)
    local server = swarm.start(SOAK.threads)
    local case, subject = SOAK.rate .. " packets/s", SOAK.threads .. " threads"
    local first
    for part = 1, SOAK.parts do
        local pings, queries, lost = swarm.load(server.port, SOAK.rate, seconds / SOAK.parts)
        local memory = processes.memory(server, "Rss")
        first = first or memory
        local name = ("%s, part %d"):format(subject, part)
        report:add(case, name, "ping mean", (swarm.sum_up(pings)))
        report:add(case, name, "ping p99", select(2, swarm.sum_up(pings)))
        report:add(case, name, "query mean", (swarm.sum_up(queries)))
        report:add(case, name, "query p99", select(2, swarm.sum_up(queries)))
        report:add(case, name, "unanswered", lost)
        report:add(case, name, "grown", memory - first)
    end
    processes.stop(server)
end

local function row(report, subject, rate)
    local case = rate .. " packets/s"
    local function cells(kind)
        return report:cell(case, subject, kind .. " mean", "%.2f", 1e3) .. " / " ..
            report:cell(case, subject, kind .. " p99", "%.1f", 1e3)
    end
    report:say(("%-16s %-19s %-24s %-24s %-12s %s"):format(case, subject,
        cells("ping"), cells("query"), report:cell(case, subject, "unanswered", "%.0f"),
        report:cell(case, subject, "grown", "%.0f KiB", 1 / 1024)))
end

return function(options, report)
    local rates <const> = {100, 200, 400, 1000}
    for _ = 1, options.rounds do
        for _, rate in ipairs(rates) do
            measure(report, 1, rate, options.seconds)
            measure(report, 5, rate, options.seconds)
        end
    end
    soak(report, options.seconds * 10)
    report:say(("%-37s%-25s%-25s%-13s%s"):format("milliseconds, mean / p99", "ping", "query", "unanswered",
        "memory grown by"))
    for _, threads in ipairs{1, 5} do
        for _, rate in ipairs(rates) do
            row(report, threads .. " threads", rate)
        end
    end
    report:say(("soak: %g s in %d parts, memory grown by since the first"):format(options.seconds * 10, SOAK.parts))
    for part = 1, SOAK.parts do
        row(report, ("%d threads, part %d"):format(SOAK.threads, part), SOAK.rate)
    end
end
