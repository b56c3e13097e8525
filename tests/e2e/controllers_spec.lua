-- Controllers at work in a running host, and the commands that steer them.
local json = require "cjson"
local support = require "tests.e2e.support"

local yaml = [[
weir: 1
pools: {slow: {threads: {min: 1, max: 6}, blocking: true, controller: {name: queue, sample: 100ms, threshold: 5, idle: 400ms}}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: jobs}
  jobs: {handler: jobs.lua, to: {work: work}}
  work: {handler: work.lua, pool: slow, libs: all, batch: 16}
]]
local jobs = [[
local weir = require "weir"
return function(req)
    local n = 0
    for _ = 1, tonumber(req.path:match "%d+") do n = n + (weir.emit("work", "job") and 1 or 0) end
    req:reply(200, n .. "\n")
end
]]
local work = 'return function() os.execute "sleep 0.05" end\n'

describe("controllers", function()
    local host

    before_each(function()
        host = support.start {["weir.yaml"] = yaml, ["jobs.lua"] = jobs, ["work.lua"] = work}
    end)

    after_each(function()
        local status = host:stop()
        local said = host:stderr()
        support.clean()
        assert.are.equal(0, status, said)
        assert.is_nil(said:find("Sanitizer", 1, true), said)
    end)

    -- Output and exit status of a command; stderr is part of the output.
    local function weir(arguments)
        local text = support.shell(("XDG_RUNTIME_DIR=%s/../run %s %s 2>&1; echo $?"):format(host.folder, support.quote(support.bin), arguments))
        local output, status = text:match "^(.*)%f[%d](%d+)\n$"
        return output, tonumber(status)
    end

    local function stats()
        return json.decode((weir "stats --json"))
    end

    local function threads()
        return stats().pools.slow.threads
    end

    local function events(arguments)
        local list = {}
        for line in weir("events --once --json " .. (arguments or "")):gmatch "[^\n]+" do
            list[#list + 1] = json.decode(line)
        end
        return list
    end

    local function ask_for(n)
        assert.are.equal(n .. "\n", (support.curl(host.url .. "/" .. n)))
    end

    it("grow a pool while its queue is long, and let idle workers leave", function()
        assert.are.equal(1, threads())
        ask_for(300)
        support.wait(20, "four workers", function() return threads() >= 4 end)
        support.wait(60, "one worker", function() return threads() == 1 end)
        local work_stage = stats().stages.work.ledger
        assert.are.equal(300, work_stage.handled)
        assert.are.equal(0, work_stage.queued + work_stage.running + work_stage.failed + work_stage.dropped)
        local grew, left, before = 0, 0, 0
        for _, e in ipairs(events()) do
            assert.are.equal("decision", e.kind)
            assert.are.equal("pools.slow.threads", e.path)
            assert.are.equal("queue", e.controller)
            assert.is_true(e.number > before)
            before = e.number
            if e.rule == "queue over threshold" then
                grew = grew + 1
                assert.are.equal(e.from + 1, e.to)
                assert.is_true(e.inputs.depth > 5)
            else
                left = left + (e.rule == "idle" and 1 or 0)
            end
        end
        assert.is_true(grew >= 3 and left >= 1, grew .. " and " .. left)
        local shown = weir "events --once"
        assert.is_truthy(shown:find("Z decision pools.slow.threads 1 -> 2 queue: queue over threshold (depth ", 1, true), shown)
    end)

    it("stay where they are told to", function()
        assert.are.same({"", 0}, {weir "freeze pools.slow.threads"})
        ask_for(60)
        support.shell "sleep 0.6"
        assert.are.equal(1, threads())
        assert.are.same({"", 0}, {weir "set pools.slow.threads 3"})
        assert.are.equal(3, threads())
        assert.are.same({"", 0}, {weir "set stages.work.batch 4"})
        assert.are.equal(4, stats().stages.work.batch)
        assert.are.same({"", 0}, {weir "set pools.slow.controller.idle 200ms"})
        assert.are.same({"", 0}, {weir "unfreeze pools.slow.threads"})
        support.wait(60, "one worker", function() return threads() == 1 end)
        local kinds = {}
        for _, e in ipairs(events()) do
            kinds[#kinds + 1] = e.kind .. " " .. e.path
        end
        assert.are.same({"freeze pools.slow.threads", "set pools.slow.threads", "set stages.work.batch", "set pools.slow.controller.idle",
            "unfreeze pools.slow.threads"}, {table.unpack(kinds, 1, 5)})
        assert.are.equal("decision pools.slow.threads", kinds[#kinds])
        assert.are.equal(2, #events "--after 3" - (#kinds - 5))
    end)

    it("say what can't be set", function()
        for arguments, expected in pairs {
            ["set pools.slwo.threads 2"] = {1, "there is no pool 'slwo' (did you mean 'slow'?)"},
            ["set pools.slow.threads many"] = {1, "pools.slow.threads: expected a whole number from 1 to 22, found 'many'"},
            ["set pools.slow.controller.treshold 3"] = {1, "there is no setting 'treshold' (did you mean 'threshold'?)"},
            ["set pools.slow.controller.sample 5"] = {1, "the unit is missing"},
            ["set stages.work.capacity 5"] = {1, "can't be changed while the host runs"},
            ["set stages.web.batch 5"] = {1, "'web' is a source"},
            ["set stages.work.batch"] = {64, "expected PATH VALUE"},
            ["freeze stages.work.batch"] = {1, "stages.work.batch: no controller moves it"},
            ["freeze"] = {64, "expected PATH"},
            ["unfreeze a b"] = {64, "b"},
            ["events --after x"] = {64, "--after: expected the number of an event, found 'x'"},
        } do
            local said, status = weir(arguments)
            assert.are.equal(expected[1], status, arguments .. ": " .. said)
            assert.is_truthy(said:find(expected[2], 1, true), arguments .. ": " .. said)
        end
        assert.are.same({}, events())
    end)

    it("are recorded step by step when that is asked for", function()
        local _, status = weir "set pools.slow.controller.record true"
        assert.are.equal(0, status)
        support.curl(host.url .. "/40")
        local steps = {}
        support.wait(10, "steps, one of which decides", function()
            steps = {}
            local decided = false
            for _, e in ipairs(events()) do
                if e.kind == "step" then
                    steps[#steps + 1] = e
                    decided = decided or e.rule ~= nil
                end
            end
            return #steps > 5 and decided
        end)
        local first = steps[1]
        assert.are.equal("pools.slow.threads", first.path)
        assert.are.equal(5, first.settings.threshold)
        assert.are.equal(0.1, first.settings.sample)
        assert.are.equal(1, first.was.threads)
        assert.are.equal(6, first.inputs.threads_max)
        for _, step in ipairs(steps) do
            assert.are.equal(step.rule ~= nil, step.was.threads ~= step.at.threads)
        end
        weir "set pools.slow.controller.record false"
        assert.matches("expected true or false", (weir "set pools.slow.controller.record maybe"))
    end)
end)
