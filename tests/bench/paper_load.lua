-- Servers under load. Figure 12: files to ever more clients, haboob beside four servers; figure 13: shedding, response
-- times of 1024 clients of one page that is too dear for all of them;
-- figure 14: the Gnutella router, with a pool that can't grow and one that finds its size.
local cjson = require "cjson"
local burn = require "burn"
local place = require "place"
local processes = require "processes"
local servers = require "servers"
local swarm = require "swarm"

local function fig12(options, report, draw)
    servers(options, report)
    for _, what in ipairs {{"fig12-throughput", "bytes_rate", "Mbit/s", 8e-6}, {"fig12-fairness", "jain", "Jain's index of fairness", 1},
        {"fig12-max", "max_ms", "greatest response time, ms", 1, true}} do
        local lines = {}
        for i, name in ipairs {"haboob", "Apache, processes", "Apache, events", "nginx", "lighttpd"} do
            lines[i] = {name = name, points = {}}
            for _, clients in ipairs {1, 4, 16, 64, 256, 1024} do
                local value = report:sum_up(tostring(clients), name, what[2])
                if value then
                    table.insert(lines[i].points, {clients, value * what[4]})
                end
            end
        end
        draw(what[1], {title = "Figure 12: files to clients that think for 20 ms", x = {label = "clients", log = 2},
            y = {label = what[3], log = what[5]}, series = lines})
    end
end

-- ---- figure 13 ----

local TARGET_MS <const> = 100
local ways <const> = {
    {name = "no control", queue = "capacity: 4096"},
    {name = "response_time", queue = "capacity: 4096", admission = ("{controller: response_time, target: %dms}"):format(TARGET_MS)},
    {name = "codel", queue = "capacity: 4096, order: adaptive", admission = ("{controller: codel, target: %dms}"):format(TARGET_MS)},
}

local function fig13(options, report, draw)
    local lines = {}
    for i, way in ipairs(ways) do
        local server = burn.start("shed", 5, way)
        local quantiles = place.out .. "/quantiles.tsv"
        local r = cjson.decode(place.capture(("taskset -c 1 %s %d %g 1024 think_ms=20 warm=%g quantiles=%s"):format(place.compile("closed_loop"),
            server.port, options.seconds * 10, options.seconds * 2, place.quote(quantiles))))
        processes.stop(server)
        lines[i] = {name = way.name, points = {}}
        for line in io.lines(quantiles) do
            local share, ms = line:match("(%S+)\t(%S+)")
            table.insert(lines[i].points, {math.max(tonumber(ms), 0.1), tonumber(share)})
        end
        for _, metric in ipairs {"rate", "p50_ms", "p90_ms", "max_ms", "refused", "jain"} do
            report:add("fig13", way.name, metric, r[metric])
        end
        report:add("fig13", way.name, "share", r.refused / (r.refused + r.answered))
    end
    report:say(("Figure 13: 1024 clients of a page that takes 5 ms of CPU; target %d ms."):format(TARGET_MS))
    local rows = {{"", "answers/s", "p50 ms", "p90 ms", "max ms", "share refused", "Jain"}}
    for _, way in ipairs(ways) do
        local function cell(metric, format)
            return report:cell("fig13", way.name, metric, format)
        end
        rows[#rows + 1] = {way.name, cell("rate", "%.0f"), cell("p50_ms", "%.0f"), cell("p90_ms", "%.0f"), cell("max_ms", "%.0f"),
            cell("share", "%.3f"), cell("jain", "%.3f")}
    end
    report:print_table(rows)
    draw("fig13", {title = "Figure 13: 1024 clients of a page that takes 5 ms of CPU", x = {label = "response time, ms", log = true},
        y = {label = "share of answers", from = 0}, series = lines})
end

-- ---- figure 14 ----

local RATES <const> = {100, 200, 400, 1000}
local pools <const> = {
    {name = "1 thread", threads = 1},
    {name = "5 threads", threads = 5},
    {name = "controller", threads = 1, arguments = "--set 'pools.search.threads={min: 1, max: 40}' "
        .. "--set 'pools.search.controller={name: hillclimb, sample: 500ms, threshold: 10}'"},
}

local function fig14(options, report, draw)
    local lines = {}
    for i, pool in ipairs(pools) do
        lines[i] = {name = pool.name, points = {}}
        for _, rate in ipairs(RATES) do
            local server = swarm.start(pool.threads, pool.arguments)
            swarm.load(server.port, rate, options.seconds * 2)
            local pings, queries, lost = swarm.load(server.port, rate, options.seconds * 2)
            processes.stop(server)
            local case = rate .. " packets/s"
            report:add(case, pool.name, "ping", (swarm.sum_up(pings)))
            report:add(case, pool.name, "lost", lost)
            if #queries > 0 then -- else none was answered in time
                report:add(case, pool.name, "query", (swarm.sum_up(queries)))
                table.insert(lines[i].points, {rate, (swarm.sum_up(queries)) * 1e3})
            end
        end
    end
    report:say "Figure 14: the packet router, 15 % queries that hold a thread for 20 ms; mean latency, ms, ping / query."
    local rows = {{"", table.unpack(RATES)}}
    for i, rate in ipairs(RATES) do
        rows[1][i + 1] = rate .. " packets/s"
    end
    for _, pool in ipairs(pools) do
        local row = {pool.name}
        for _, rate in ipairs(RATES) do
            local case = rate .. " packets/s"
            row[#row + 1] = report:cell(case, pool.name, "ping", "%.2f", 1e3) .. " / " .. report:cell(case, pool.name, "query", "%.1f", 1e3)
        end
        rows[#rows + 1] = row
    end
    report:print_table(rows)
    draw("fig14", {title = "Figure 14: queries of the Gnutella router, mean latency", x = {label = "packets/s", log = true},
        y = {label = "ms", log = true}, series = lines})
end

return {{name = "fig12", run = fig12}, {name = "fig13", run = fig13}, {name = "fig14", run = fig14}}
