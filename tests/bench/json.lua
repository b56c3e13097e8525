-- JSON lines in, two fields changed in Lua, lines out: weir with its sources and sinks beside a plain Lua script with
-- lua-cjson, on the same file.
local place = require "place"

local cases = {
    {name = "two fields changed", handler = "change.lua", script = "plain_change.lua"},
    {name = "lines as they are", handler = "pass.lua", script = "plain_pass.lua"},
}

local function write_lines(path, count)
    local levels, services = {"info", "info", "warn"}, {"checkout", "search", "login", "cart", "mail"}
    local file = assert(io.open(path, "wb"))
    math.randomseed(7)
    for i = 1, count do
        assert(file:write(('{"time":"2026-11-22T10:%02d:%02d","level":"%s","service":"%s","status":%d,"ms":%.3f,"message":"request %d done"}\n')
            :format(i // 60 % 60, i % 60, levels[i % 3 + 1], services[i % 5 + 1], 200 + i % 3, math.random() * 1000, i)))
    end
    assert(file:close())
end

-- User and system time of a command, of all its threads, in seconds; raises unless it wrote `count` lines.
local function measure(command, input, count)
    local output, log, times = place.out .. "/json.out", place.out .. "/json.log", place.out .. "/json.times"
    place.shell(("bash -c %s"):format(place.quote(("TIMEFORMAT='%%U %%S'; { time taskset -c 0 %s <%s >%s 2>%s; } 2>%s"):format(command,
        place.quote(input), place.quote(output), place.quote(log), place.quote(times)))))
    local written = tonumber(place.capture("wc -l <" .. place.quote(output)))
    assert(written == count, ("%s wrote %d lines of %d; its log: %s"):format(command, written, count, log))
    local user, system = place.read(times):match("([%d.]+) ([%d.]+)")
    return tonumber(user), tonumber(system)
end

return function(options, report)
    local count = math.ceil(options.seconds * 5e5)
    local input, app = place.out .. "/lines.json", place.bench .. "/apps/json"
    write_lines(input, count)
    for _ = 1, options.rounds do
        for _, case in ipairs(cases) do
            local commands = {
                script = ("lua5.4 %s/%s"):format(place.quote(app), case.script),
                weir = ("env HANDLER=%s %s run %s --admin none"):format(case.handler, place.quote(place.weir), place.quote(app)),
            }
            for _, who in ipairs {"script", "weir"} do
                local user, system = measure(commands[who], input, count)
                report:add(case.name, who, "user_us", user / count * 1e6)
                report:add(case.name, who, "cpu_us", (user + system) / count * 1e6)
            end
        end
    end
    report:say(("CPU µs per line of a file of %d lines of 112 to 125 bytes, 6 fields; whole processes, all threads on CPU 0."):format(count))
    local rows = {{"", "script: Lua 5.4, cjson", "weir", "weir / script", "user time only"}}
    for _, case in ipairs(cases) do
        rows[#rows + 1] = {case.name, report:cell(case.name, "script", "cpu_us", "%.2f"), report:cell(case.name, "weir", "cpu_us", "%.2f"),
            report:ratio(case.name, "cpu_us", "weir", "script"), report:ratio(case.name, "user_us", "weir", "script")}
    end
    report:print_table(rows)
end
