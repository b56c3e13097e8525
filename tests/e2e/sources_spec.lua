-- Sources without a network: timer, generator, stdin, file. What is lost or doubled is seen by numbers in the lines.
local program = require "tests.e2e.program"

local LINES <const> = 20000 -- of each rotation test
local sanitized = (os.getenv("WEIR_PRESET") or ""):find("san") ~= nil

-- What the last stage has written, by line.
local function output(place)
    local lines = {}
    for line in (program.read(place.home .. "/out.txt") or ""):gmatch("([^\n]*)\n") do
        lines[#lines + 1] = line
    end
    return lines
end

-- Fails unless the numbers 1..n stand in the lines, each once; `ordered`: in this order.
local function expect_all(lines, n, ordered)
    local seen = {}
    for i, line in ipairs(lines) do
        local number = math.tointeger(tonumber(line:match("%d+")))
        assert.is_truthy(number and number >= 1 and number <= n, "line " .. i .. " is '" .. line .. "'")
        assert.is_nil(seen[number], "doubled: " .. line)
        seen[number] = true
        if ordered then
            assert.equal(i, number)
        end
    end
    for i = 1, n do
        assert.is_truthy(seen[i], "lost: " .. i)
    end
end

-- source → handler → file; `more`: other keys of the source, as YAML. One worker: the file has the order of the handler.
local function pipeline(source, more, threads)
    return ([[
weir: 1
pools: {main: {threads: %d}}
shared: {seen: {bytes: 1MiB}}
stages:
  in: {source: %s, %s, to: work}
  work:
    handler: work.lua
    queue: {overflow: wait, capacity: 64}
    to: {out: out}
  out: {sink: file, path: out.txt, queue: {overflow: wait}}
]]):format(threads or 1, source, more or "framing: line")
end

local FORWARD <const> = [[
local weir = require "weir"
return function(event) weir.emit("out", event) end
]]

-- The same, and a line that is not the one after that before it fails, so that it is missed. (The order of the output is
-- not that of the handler: what had to wait for room in the sink's queue may be overtaken.)
local ORDERED <const> = [[
local weir = require "weir"
local seen = weir.shared("seen")
return function(event)
    local n = seen:incr("lines", 1)
    if n ~= tonumber(event:match("%d+")) then error(("'%s' is line %d"):format(event, n)) end
    weir.emit("out", event)
end
]]

-- A new place with such an application in it.
local function application(source, more, handler, threads)
    local place = program.place()
    place:write("weir.yaml", pipeline(source, more, threads))
    place:write("work.lua", handler or FORWARD)
    return place
end

local function wait_lines(place, n, seconds)
    program.wait(seconds or 60, n .. " lines of output", function()
        return #output(place) >= n
    end)
end

local function stats(place)
    local _, text = place:weir {"stats", "--json"}
    return text
end

describe("the source stdin", function()
    after_each(program.clean)

    local function pipe(place, producer)
        local _, status = program.shell(("( %s ) | ( %s ) >%s/stdout 2>%s/stderr"):format(producer,
            place:command({"run"}, nil, "timeout -k 5 60"), place.root, place.root))
        return status
    end

    it("passes 100 000 lines of a pipe in their order, to one worker and to two, which make it wait, and ends with 0", function()
        for threads = 1, 2 do
            local place = application("stdin", nil, ORDERED, threads)
            assert.equal(0, pipe(place, "seq 1 100000"))
            expect_all(output(place), 100000)
        end
    end)

    it("loses nothing when the stage behind sleeps", function()
        local place = application("stdin", nil, [[
            local weir = require "weir"
            return function(event) weir.sleep(0.001) weir.emit("out", event) end
        ]])
        assert.equal(0, pipe(place, "seq 1 300"))
        expect_all(output(place), 300, true)
    end)

    it("reads files, whose last line needs no end, and /dev/null", function()
        local place = application("stdin")
        place:write("input", "1\n2\r\n3")
        assert.equal(0, pipe(place, "true; exec 3<" .. place.home .. "/input; true") and 0)
        local function from(path)
            local _, status = program.shell(("( %s ) <%s >%s/stdout 2>%s/stderr"):format(
                place:command({"run"}, nil, "timeout -k 5 60"), path, place.root, place.root))
            return status
        end
        assert.equal(0, from(place.home .. "/input"))
        assert.same({"1", "2", "3"}, output(place))
        assert.equal(0, from("/dev/null"))
        assert.equal(3, #output(place))
    end)

    it("cuts frames by length", function()
        local place = application("stdin", "framing: length, length_size: 2")
        assert.equal(0, pipe(place, [[printf '\000\00312x\000\000\000\0013']]))
        assert.same({"12x", "", "3"}, output(place))
    end)

    it("is refused to a second stage", function()
        local place = program.place()
        place:write("weir.yaml", [[
weir: 1
stages:
  a: {source: stdin, to: out}
  b: {source: stdin, to: out}
  out: {sink: "null"}
]])
        local status, _, err = place:weir {"run"}
        assert.not_equal(0, status)
        assert.matches("another stage reads the standard input already", err, 1, true)
    end)
end)

describe("the source generator", function()
    after_each(program.clean)

    it("gives as many events as asked for, as fast as they are taken, and ends the host", function()
        local place = application("generator", [[count: 50000, template: "line {n}", stop_when_done: true]], nil, 2)
        assert.equal(0, (place:weir {"run"}))
        expect_all(output(place), 50000)
    end)

    it("keeps to its rate", function()
        local place = application("generator", [[rate: 2000, count: 2000, template: "{n}x", stop_when_done: true]])
        local began = require "socket".gettime()
        assert.equal(0, (place:weir {"run"}))
        local took = require "socket".gettime() - began
        expect_all(output(place), 2000)
        assert.is_true(took >= 0.99, "too fast: " .. took)
        assert.is_true(sanitized or took < 5, "too slow: " .. took)
    end)

    it("is told when its options contradict each other", function()
        local place = application("generator", [[bytes: 100, value: 3, stop_when_done: true]])
        local status, _, err = place:weir {"check"}
        assert.equal(78, status)
        assert.matches("'bytes' can't be had together with 'value'", err, 1, true)
        assert.matches("'stop_when_done' needs a 'count'", err, 1, true)
    end)
end)

describe("the source timer", function()
    after_each(program.clean)

    it("ticks, and leaves out what it slept through", function()
        local place = application("timer", "every: 20ms, at_start: true", [[
            local weir = require "weir"
            return function(tick) weir.emit("out", tick.n .. " " .. tick.missed) end
        ]])
        local server = place:start {}
        wait_lines(place, 5)
        server:signal("STOP")
        local before = #output(place)
        os.execute("sleep 0.5")
        server:signal("CONT")
        wait_lines(place, before + 5)
        assert.equal(0, server:stop())
        local last, missed = 0, 0
        for i, line in ipairs(output(place)) do
            local n, out = line:match("^(%d+) (%d+)$")
            assert.equal(last + 1 + tonumber(out), tonumber(n), "line " .. i)
            last, missed = tonumber(n), missed + tonumber(out)
        end
        assert.is_true(missed >= 20, "left out: " .. missed)
    end)
end)

describe("the source file", function()
    after_each(program.clean)

    local function append(path, text)
        local file = assert(io.open(path, "a"))
        file:write(text)
        file:close()
    end

    -- Writes LINES numbered lines as a logger does, a few at a time; `rotate(path)` is called now and then, with the file
    -- closed, and does what log rotation does.
    local function write_load(path, rotate, every)
        local file = assert(io.open(path, "a"))
        for i = 1, LINES do
            file:write(i, " ", ("x"):rep(i % 70), "\n")
            if i % 7 == 0 then
                file:flush()
            end
            if i % every == 0 and i < LINES then
                file:close()
                rotate(path, i)
                file = assert(io.open(path, "a"))
            end
        end
        file:close()
    end

    it("loses and doubles nothing when files are renamed and made anew under load", function()
        local place = application("file", "path: app.log, from: start", ORDERED, 2)
        local server = place:start {}
        write_load(place.home .. "/app.log", function(path, i)
            wait_lines(place, i - LINES // 8 + 1) -- who rotates twice before anybody looks hides a file from any reader
            assert(os.rename(path, path .. "." .. i))
        end, LINES // 8)
        wait_lines(place, LINES)
        assert.equal(0, server:stop())
        expect_all(output(place), LINES)
    end)

    it("loses nothing that is written to a file after it was renamed", function()
        local place = application("file", "path: app.log, from: start")
        local path = place.home .. "/app.log"
        append(path, "1\n")
        local server = place:start {}
        wait_lines(place, 1)
        local old = assert(io.open(path, "a"))
        assert(os.rename(path, path .. ".1"))
        append(path, "2\n")
        wait_lines(place, 2)
        old:write("3\n")
        old:close()
        wait_lines(place, 3)
        assert.equal(0, server:stop())
        expect_all(output(place), 3, true)
    end)

    it("reads a file only once whose new name fits the pattern, too", function()
        local place = application("file", "path: 'app.log*', from: start", nil, 2)
        local server = place:start {}
        write_load(place.home .. "/app.log", function(path, i)
            assert(os.rename(path, path .. "." .. i))
        end, LINES // 8)
        wait_lines(place, LINES)
        assert.equal(0, server:stop())
        expect_all(output(place), LINES)
    end)

    it("loses nothing of files that are deleted once their successor was made", function()
        local place = application("file", "path: app.log, from: start", ORDERED, 2)
        local server = place:start {}
        write_load(place.home .. "/app.log", function(path, i)
            wait_lines(place, i - LINES // 8 + 1) -- it is open: what is left of it can be read, though it has no name any more
            assert(os.remove(path))
        end, LINES // 8)
        wait_lines(place, LINES)
        assert.equal(0, server:stop())
        expect_all(output(place), LINES)
    end)

    it("begins anew with a file that was copied and truncated, even when it is longer soon", function()
        local place = application("file", "path: app.log, from: start", ORDERED, 2)
        local server = place:start {}
        write_load(place.home .. "/app.log", function(path, i)
            wait_lines(place, i) -- what is not read when a file is truncated is lost to any reader
            assert(os.execute(("cp %s %s.copy && : >%s"):format(path, path, path)))
        end, LINES // 4)
        wait_lines(place, LINES)
        assert.equal(0, server:stop())
        expect_all(output(place), LINES)
        assert.matches("it was written anew", server:stderr(), 1, true)
    end)

    it("goes on where it was after a restart, after a crash too, over a rotation meanwhile", function()
        local place = application("file", "path: app.log, from: start, state: positions")
        local path = place.home .. "/app.log"
        append(path, "1\n2\n3\n")
        local server = place:start {}
        wait_lines(place, 3)
        assert.equal(0, server:stop())
        append(path, "4\n")
        assert(os.rename(path, path .. ".1"))
        append(path, "5\n")
        server = place:start {}
        wait_lines(place, 5)
        program.wait(10, "positions on the disk", function()
            local found = 0
            for offset, name in program.read(place.home .. "/positions"):gmatch("%d+ %d+ (%d+) %S+ [^\n]*(app[^\n]*)") do
                found = found + ((name == "app.log" and offset == "2") and 1 or 0)
            end
            return found == 1
        end)
        server:signal("KILL")
        server:wait()
        append(path, "6\n")
        server = place:start {}
        wait_lines(place, 6)
        assert.equal(0, server:stop())
        expect_all(output(place), 6, true)
    end)

    it("gives again, after a crash, what was not handled yet", function()
        local place = application("file", "path: app.log, from: start, state: positions", [[
            local weir = require "weir"
            return function(event)
                weir.emit("out", event)
                if event == "3" then weir.sleep(1000) end
            end
        ]])
        append(place.home .. "/app.log", "1\n2\n3\n4\n")
        local server = place:start {}
        wait_lines(place, 3)
        os.execute("sleep 1.5") -- the state is written once a second; here nothing may come of it
        server:signal("KILL")
        server:wait()
        place:write("work.lua", FORWARD)
        server = place:start {}
        wait_lines(place, 5)
        assert.equal(0, server:stop())
        local lines = output(place)
        assert.equal("3", lines[#lines - 1])
        assert.equal("4", lines[#lines])
    end)

    it("passes over lines whose handler failed: they have ended, too", function()
        local place = application("file", "path: app.log, from: start, state: positions", [[
            local weir = require "weir"
            return function(event)
                if event == "2" then error("no") end
                weir.emit("out", event)
            end
        ]])
        append(place.home .. "/app.log", "1\n2\n3\n")
        local server = place:start {}
        wait_lines(place, 2)
        assert.equal(0, server:stop())
        assert.matches("^weir file positions 1\n%d+ %d+ 6 ", program.read(place.home .. "/positions"))
    end)

    it("waits for the end of a line, or for flush_after", function()
        local place = application("file", "path: app.log, from: start, flush_after: 300ms")
        local path = place.home .. "/app.log"
        append(path, "1")
        append(path, " and more\n2")
        local server = place:start {}
        wait_lines(place, 2)
        append(path, "\n3\n")
        wait_lines(place, 4)
        assert.equal(0, server:stop())
        assert.same({"1 and more", "2", "", "3"}, output(place))
    end)

    it("begins at the end unless told otherwise, and finds files that come later", function()
        local place = application("file", "path: 'logs/*.log', with_path: true, poll: 100ms", [[
            local weir = require "weir"
            return function(e) weir.emit("out", e.path:match("[^/]*$") .. " " .. e.offset .. " " .. e.line) end
        ]])
        place:write("logs/a.log", "old\n")
        local server = place:start {}
        append(place.home .. "/logs/a.log", "1\n")
        wait_lines(place, 1)
        place:write("logs/b.log", "2\n3\n")
        wait_lines(place, 3)
        assert.equal(0, server:stop())
        assert.same({"a.log 4 1", "b.log 0 2", "b.log 2 3"}, output(place))
    end)

    it("reads many files with few of them open", function()
        local place = application("file", "path: 'logs/*', from: start, max_open: 4, poll: 50ms")
        local n = 0
        for round = 1, 2 do
            for i = 1, 40 do
                n = n + 1
                place:write("logs/" .. i, ((round == 2) and program.read(place.home .. "/logs/" .. i) or "") .. n .. "\n")
            end
        end
        local server = place:start {}
        wait_lines(place, n)
        for i = 1, 40 do
            n = n + 1
            append(place.home .. "/logs/" .. i, n .. "\n")
        end
        wait_lines(place, n)
        local open = tonumber(stats(place):match('"open":(%d+)'))
        assert.is_true(open <= 4, "open: " .. tostring(open))
        assert.equal(0, server:stop())
        expect_all(output(place), n)
    end)

    it("reads whole files one after the other and ends", function()
        local place = application("file", "paths: [b.txt, 'a*.txt'], mode: whole")
        place:write("a1.txt", "3\n4\n")
        place:write("a2.txt", "5\n6")
        place:write("b.txt", "1\n2\n")
        assert.equal(0, (place:weir {"run"}))
        expect_all(output(place), 6, true)
    end)

    it("says what is wrong with its options", function()
        local place = application("file", "mode: whole, poll: 1s")
        local status, _, err = place:weir {"check"}
        assert.equal(78, status)
        assert.matches("needs 'path'", err, 1, true)
        assert.matches("'poll' has no meaning with 'mode: whole'", err, 1, true)
        place = application("file", "path: nowhere.txt, mode: whole")
        status, _, err = place:weir {"run"}
        assert.equal(1, status)
        assert.matches("nowhere.txt: No such file", err, 1, true)
    end)
end)
