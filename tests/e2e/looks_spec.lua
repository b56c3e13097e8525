-- weir queue, weir tap, weir top, as they are typed, on a host that works.
local program = require "tests.e2e.program"
local socket = require "socket"

local app = [[
weir: 1
name: looks
pools: {main: {threads: 2}}
stages:
  web: {source: http, listen: "127.0.0.1:0", deadline: 20s, to: page}
  brief: {source: http, listen: "127.0.0.1:0", deadline: 300ms, to: page}
  ticks: {source: generator, rate: 200, to: work}
  page: {handler: page.lua}
  work: {handler: work.lua, queue: {capacity: 50, overflow: drop_newest}, to: out}
  out: {sink: "null"}
]]

local function start(text)
    local place = program.place()
    place:write("weir.yaml", text or app)
    place:write("page.lua", "return function(r) r:reply(200, 'hi ' .. r.path) end")
    place:write("work.lua", "local weir = require 'weir'\nreturn function(e) weir.emit('out', e) end")
    return place, place:start {}
end

local function json(text)
    local cjson = require "cjson"
    return cjson.decode(text)
end

local function weir(place, ...)
    local status, out, err = place:weir({...})
    assert.are.equal(0, status, err)
    return out, err
end

local function ledger(place, stage)
    return json(weir(place, "stats", "--json")).stages[stage]
end

describe("looking into queues", function()
    after_each(program.clean)

    it("pauses a stage, shows what waits, drops of it, and lets it go on", function()
        local place = start()
        assert.are.equal("page is paused, 0 wait\n", (weir(place, "queue", "pause", "page")))
        local port = json(weir(place, "stats", "--json")).stages.web.address:match(":(%d+)$")
        local clients = {}
        for i = 1, 4 do
            clients[i] = program.connect(tonumber(port))
            clients[i]:send(program.get("/" .. i))
            program.wait(5, "it waits", function()
                return json(weir(place, "queue", "ls", "--json")).queues.page.depth == i
            end)
        end
        local queues = json(weir(place, "queue", "ls", "--json")).queues
        assert.is_true(queues.page.paused)
        assert.is_true(queues.page.oldest_s >= 0)
        assert.is_false(queues.out.paused)
        local seen = json(weir(place, "queue", "peek", "page", "-n", "3", "--json"))
        assert.are.equal(3, #seen.events)
        assert.are.equal(4, seen.depth)
        assert.is_true(seen.events[1].queued_s >= seen.events[2].queued_s)
        assert.is_true(seen.events[1].request)
        assert.are.same({}, seen.missing)
        assert.are.equal("page: 0 dropped, 4 wait\n", (weir(place, "queue", "drop", "page", "--older", "1h")))
        assert.are.equal("page: 1 dropped, 3 wait\n", (weir(place, "queue", "drop", "page", "-n", "1")))
        weir(place, "queue", "resume", "page")
        local refused = 0
        for i = 1, 4 do
            local answer = clients[i]:answer()
            refused = refused + (answer.status == 503 and 1 or 0)
            assert.is_true(answer.status == 503 or answer.body == "hi /" .. i)
        end
        assert.are.equal(1, refused)
        local page = ledger(place, "page")
        assert.are.equal(1, page.reasons.dropped.purged)
        assert.are.equal(3, page.ledger.handled)
    end)

    it("ends what expires at a paused stage", function()
        local place = start()
        weir(place, "queue", "pause", "page")
        local port = json(weir(place, "stats", "--json")).stages.brief.address:match(":(%d+)$")
        local answer = program.ask(tonumber(port), program.get("/late"))
        assert.are.equal(504, answer.status)
        program.wait(5, "it is ended", function()
            return ledger(place, "page").ledger.expired == 1
        end)
        assert.are.equal(0, json(weir(place, "queue", "ls", "--json")).queues.page.depth)
    end)

    it("keeps a paused queue within its bounds, and finishes it when the host stops", function()
        local place, server = start()
        weir(place, "queue", "pause", "work")
        program.wait(5, "it is full", function()
            return json(weir(place, "queue", "ls", "--json")).queues.work.depth == 50
        end)
        program.wait(5, "the second is over", function()
            return ledger(place, "work").blocked_by == "paused"
        end)
        assert.is_truthy((weir(place, "top", "--once")):find("\nwork [^\n]* paused\n"))
        assert.are.equal(0, server:stop())
    end)

    it("names stages and mistakes", function()
        local place = start()
        local status, _, err = place:weir {"queue", "peek", "pgae"}
        assert.are.equal(1, status)
        assert.is_truthy(err:find("there is no stage 'pgae' (did you mean 'page'?)", 1, true))
        status, _, err = place:weir {"queue", "pause", "web"}
        assert.are.equal(1, status)
        assert.is_truthy(err:find("stage 'web' is a source", 1, true))
        status, _, err = place:weir {"queue", "puase", "page"}
        assert.are.equal(64, status)
        assert.is_truthy(err:find("did you mean 'pause'?", 1, true))
        status = place:weir {"queue", "drop", "page", "--older", "5"}
        assert.are.equal(1, status)
        status = place:weir {"tap", "work", "--sample", "200%"}
        assert.are.equal(64, status)
        assert.are.equal(64, (place:weir {"top"}))
    end)

    it("says which worker did not answer", function()
        local place = program.place()
        place:write("weir.yaml", [[
weir: 1
name: looks
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page}
  page: {handler: page.lua, limits: {slice: 4s, stall: 6s, cpu: 6s}}
]])
        place:write("page.lua", [[
local weir = require "weir"
return function(r)
    local till = weir.now() + 2.5
    while weir.now() < till do end
    r:reply(200, "done")
end]])
        local server = place:start {}
        local client = program.connect(server.port)
        client:send(program.get("/"))
        socket.sleep(0.3)
        local status, _, err = place:weir {"queue", "ls"}
        assert.are.equal(0, status)
        assert.is_truthy(err:find("worker 0 of pool 'main' has not answered", 1, true), err)
        assert.are.equal(200, client:answer().status)
    end)

    it("shows what passes, bounded, and saves it for a test", function()
        local place = start()
        local out, err = weir(place, "tap", "work", "-n", "5")
        local lines = {}
        for line in out:gmatch("[^\n]+") do
            lines[#lines + 1] = json(line)
        end
        assert.are.equal(5, #lines)
        assert.are.equal("work", lines[1].stage)
        assert.are.equal(lines[1].value.n + 1, lines[2].value.n)
        assert.is_truthy(err:find("tap of work: ", 1, true))
        local _, said = weir(place, "tap", "work", "-n", "12", "--rate", "10/s")
        assert.is_true(tonumber(said:match("(%d+) beyond the rate")) > 5)
        weir(place, "tap", "work", "-n", "20", "--sample", "50%", "--save", "seen.events")
        local _, count = program.read(place.home .. "/seen.events"):gsub("\n", "")
        assert.are.equal(20, count)
        place:write("spec/replay_spec.lua", [[
            local t = require "weir.test"
            it("replays", function()
                local results = t.stage("work.lua"):replay "seen.events"
                assert.are.equal(20, #results)
                assert.is_number(results[20]:from("out")[1].n)
            end)]])
        assert.is_truthy((weir(place, "test")):find("1 success / 0 failures", 1, true))
    end)

    it("shows all stages in 80 columns", function()
        local place = start()
        program.wait(5, "a rate", function()
            return (ledger(place, "work").recent or {}).handled > 100
        end)
        local frame = weir(place, "top", "--once", "--sort", "rate")
        for line in frame:gmatch("[^\n]*") do
            assert.is_true(#line <= 80, line)
        end
        assert.is_truthy(frame:find("\nSTAGE [^\n]*BLOCKED BY\n[wo][ou][rt]"))
        assert.is_nil((weir(place, "top", "--once", "--filter", "wor")):find("\npage"))
        assert.is_truthy((weir(place, "queue", "ls", "--history")):find("\nwork "))
    end)

    it("is live in a terminal until q is typed", function()
        local place = start()
        local line = place:command({"top"}):gsub("exec env", "env")
        place:write("keys", "")
        local keys = "(sleep 1.5; printf 'r'; sleep 0.5; printf '/wo\\r'; sleep 1.5; printf q)"
        local script = ("%s | timeout 20 script -qec %s /dev/null; echo \"status ${PIPESTATUS[1]}\""):format(keys,
            program.quote("stty cols 80 rows 24; " .. line))
        local out = program.shell("bash -c " .. program.quote(script))
        assert.is_truthy(out:find("\27[?1049h", 1, true), out)
        assert.is_truthy(out:find("sort g", 1, true))
        assert.is_truthy(out:find("sort r", 1, true))
        assert.is_truthy(out:find("filter wo", 1, true))
        local last = out:match(".*\27%[H(.*)")
        assert.is_truthy(last:find("work", 1, true))
        assert.is_nil(last:find("page", 1, true))
        assert.is_truthy(out:find("\27[?1049l", 1, true))
        assert.is_truthy(out:find("status 0", 1, true))
    end)
end)
