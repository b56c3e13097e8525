-- One run of wrk against a server: what the client saw and what the server used.
local socket = require "socket"
local place = require "place"
local processes = require "processes"

local M = {}

local CLIENT_CPU <const> = 1
local DISTURBED <const> = 0.12 -- CPUs that other programs may take

local units = {us = 1, ms = 1e3, s = 1e6}

local function microseconds(text, line)
    local number, unit = text:match(line .. "%s+([%d.]+)(%l+)")
    return number and tonumber(number) * units[unit]
end

local function command(server, load)
    local headers = load.close and "-H 'Connection: close' " or ""
    return ("taskset -c %d wrk -t1 -c%d -d%gs --timeout 10s --latency %s%s%s"):format(CLIENT_CPU, load.connections, load.seconds,
        headers, server.url, load.path or "/x")
end

-- wrk wants whole seconds.
local function whole(seconds)
    return math.max(1, math.ceil(seconds))
end

local function measure(server, load)
    local memory_file = place.out .. "/memory"
    local before = {busy = processes.busy_seconds(), cpu = processes.cpu_ns(server), time = socket.gettime()}
    -- Memory is read half way, while the connections are open. `time` gives what the client itself used.
    local script = ("(sleep %g; cat /proc/%d/smaps_rollup >%s) & TIMEFORMAT='client %%U %%S'; time %s; wait")
        :format(load.seconds / 2, server.pid, memory_file, command(server, load))
    local text = place.capture("bash -c " .. place.quote(script) .. " 2>&1")
    local wall = socket.gettime() - before.time
    local server_cpu = processes.cpu_ns(server) - before.cpu
    local user, system = text:match("client ([%d.]+) ([%d.]+)")
    local requests = tonumber(text:match("(%d+) requests in"))
    assert(requests and requests > 0, "wrk had no answers:\n" .. text)
    local others = processes.busy_seconds() - before.busy - server_cpu / 1e9 - user - system
    return {
        requests = requests,
        rate = tonumber(text:match("Requests/sec:%s*([%d.]+)")),
        cpu_us = server_cpu / requests / 1000,
        p50_us = microseconds(text, "50%%"),
        p99_us = microseconds(text, "99%%"),
        pss = tonumber((place.read(memory_file) or ""):match("\nPss:%s*(%d+)")) * 1024,
        refused = tonumber(text:match("Non%-2xx or 3xx responses: (%d+)")) or 0,
        socket_errors = text:match("Socket errors:[^\n]*"),
        client_busy = (user + system) / wall,
        others = math.max(0, others / wall),
    }
end

-- `load`: {connections, seconds, close, path}. Repeats up to `patience` times when others disturb; gives the least disturbed run.
function M.run(server, load, patience)
    load.seconds = whole(load.seconds)
    local best
    for _ = 0, patience do
        local one = measure(server, load)
        if not best or one.others < best.others then
            best = one
        end
        if best.others <= DISTURBED then
            break
        end
        socket.sleep(0.5)
    end
    return best
end

-- Adds all figures of a run to the report.
function M.record(report, case, subject, result)
    for _, metric in ipairs {"rate", "cpu_us", "p50_us", "p99_us", "pss", "refused", "client_busy", "others"} do
        report:add(case, subject, metric, result[metric])
    end
    if result.socket_errors then
        report:say(("%s %s: %s"):format(case, subject, result.socket_errors))
    end
end

return M
