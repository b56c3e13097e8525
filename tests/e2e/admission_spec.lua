-- Admission controllers in front of a stage that is too slow: who is refused, what the host tells of it, how it is changed while it runs.
local cjson = require "cjson"
local program = require "tests.e2e.program"
local socket = require "socket"

local head = [[
weir: 1
name: gated
pools: {main: {threads: 1}, slow: {threads: 1, blocking: true}}
stages:
  web: {source: http, listen: "127.0.0.1:0", deadline: 20s, to: work}
]]

local work = [[
local weir = require "weir"
return function(req)
    local till = weir.now() + 0.01
    while weir.now() < till do end
    req:reply(200, "done")
end
]]

local function start(admission)
    local place = program.place()
    place:write("weir.yaml", head .. ("  work: {handler: work.lua, pool: slow, queue: {capacity: 500}, admission: %s}\n"):format(admission))
    place:write("work.lua", work)
    return place, place:start {}
end

local function stats(place)
    local status, out, err = place:weir({"stats", "--json"})
    assert.are.equal(0, status, err)
    return cjson.decode(out).stages
end

local function port_of(place)
    return tonumber(stats(place).web.address:match(":(%d+)$"))
end

-- Asks `n` times at once, again and again for `seconds`; returns how many answers had each status.
local function load(port, n, seconds)
    local counts, clients = {}, {}
    local till = socket.gettime() + seconds
    for i = 1, n do
        clients[i] = program.connect(port)
        clients[i]:send(program.get("/"))
    end
    while socket.gettime() < till do
        for i = 1, n do
            local answer = clients[i]:answer()
            counts[answer.status] = (counts[answer.status] or 0) + 1
            clients[i]:send(program.get("/"))
        end
    end
    for i = 1, n do
        clients[i]:close()
    end
    return counts
end

local function show(counts)
    local parts = {}
    for status, n in pairs(counts) do
        parts[#parts + 1] = ("%s: %d"):format(status, n)
    end
    return table.concat(parts, ", ")
end

local function check_ledger(place)
    program.wait(10, "it is at rest", function()
        local l = stats(place).work.ledger
        return l.queued == 0 and l.running == 0
    end)
    local stage = stats(place).work
    local l, class = stage.ledger, stage.admission.classes.normal
    assert.are.equal(l.offered, l.accepted + l.rejected)
    assert.are.equal(l.accepted, l.handled + l.expired + l.dropped + l.failed)
    assert.are.equal(l.offered, class.offered)
    assert.are.equal((stage.reasons.rejected or {}).gate or 0, class.refused)
    return stage
end

describe("admission", function()
    after_each(program.clean)

    it("lets in as many a second as a token bucket has, and can be changed and switched off", function()
        local place = start("{controller: token_bucket, rate: 5, burst: 2}")
        local port = port_of(place)
        local counts = load(port, 4, 1)
        assert.is_true(counts[200] >= 2 and counts[200] <= 20, show(counts))
        assert.is_true(counts[503] > counts[200])
        local stage = check_ledger(place)
        assert.are.equal("token_bucket", stage.admission.controller)
        assert.are.equal(5, stage.admission.rate)
        place:weir({"set", "stages.work.admission.rate", "7"})
        program.wait(5, "the new rate", function()
            return stats(place).work.admission.rate == 7
        end)
        place:weir({"set", "stages.work.admission.enabled", "false"})
        program.wait(5, "no rate", function()
            return stats(place).work.admission.rate == cjson.null
        end)
        assert.is_nil(load(port, 4, 0.3)[503])
        local _, events = place:weir({"events", "--once"})
        assert.is_truthy(events:find("stages.work.admission", 1, true), events)
        local status, _, err = place:weir({"set", "stages.work.admission.rat", "7"})
        assert.are.equal(1, status)
        assert.is_truthy(err:find("did you mean 'rate'?", 1, true), err)
    end)

    it("keeps the queue of a stage short that can't keep up: codel", function()
        local place = start("{controller: codel, target: 20ms}")
        local counts = load(port_of(place), 60, 3)
        assert.is_true(counts[503] > 0 and counts[200] > 0, show(counts))
        local stage = check_ledger(place)
        assert.is_true(stage.admission.controllers[1].decisions > 0)
        program.wait(5, "it opens again", function()
            return stats(place).work.admission.limit == cjson.null
        end)
    end)

    it("finds a limit: gradient", function()
        local place = start("gradient")
        local counts = load(port_of(place), 60, 3)
        assert.is_true(counts[503] > 0 and counts[200] > 0, show(counts))
        local limit = check_ledger(place).admission.limit
        assert.is_true(limit >= 2 and limit < 60, tostring(limit))
    end)

    it("finds a rate: response_time", function()
        local place = start("{controller: response_time, target: 50ms, samples: 20}")
        local counts = load(port_of(place), 60, 4)
        assert.is_true(counts[503] > 0 and counts[200] > 0, show(counts))
        check_ledger(place)
    end)

    it("loses nothing of a file whose lines wait for the gate", function()
        local place = program.place()
        local lines = {}
        for i = 1, 60 do
            lines[i] = "line " .. i
        end
        place:write("in.log", table.concat(lines, "\n") .. "\n")
        place:write("weir.yaml", [[
weir: 1
name: gated
stages:
  lines: {source: file, path: in.log, mode: whole, to: {out: {stage: work, overflow: wait}}}
  work: {handler: work.lua, to: out, admission: {controller: token_bucket, rate: 30, burst: 5}}
  out: {sink: file, path: out.log}
]])
        place:write("work.lua", "local weir = require 'weir'\nreturn function(line) weir.emit('out', line) end")
        local began = socket.gettime()
        local status, _, err = place:weir({"run"}) -- it ends with its source
        assert.are.equal(0, status, err)
        assert.is_true(socket.gettime() - began > 1.5) -- it was refused again and again
        local written = {}
        for line in program.read(place.home .. "/out.log"):gmatch("[^\n]+") do
            written[#written + 1] = line
        end
        table.sort(lines) -- two workers write: no order is promised
        table.sort(written)
        assert.are.same(lines, written)
    end)

    it("takes the strictest of several", function()
        local place = start("[{controller: token_bucket, rate: 50}, {controller: token_bucket, rate: 20}, codel]")
        assert.are.equal(20, stats(place).work.admission.rate)
        assert.are.equal(3, #stats(place).work.admission.controllers)
    end)
end)
