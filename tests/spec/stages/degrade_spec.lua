-- stages/lua/degrade.lua: the knob, with a clock of the test's own.
assert(_VERSION == "Lua 5.4")

local now, age, sent, queue
local fake = {
    now = function() return now end,
    meta = function() return {age = age} end,
    emit = function(port, event) sent[#sent + 1] = {port, event} return true end,
    queue = function() return queue end,
}

local function load_degrade()
    local before = package.loaded.weir
    package.loaded.weir = fake
    local module = assert(loadfile("stages/lua/degrade.lua"))()
    package.loaded.weir = before
    return module
end

describe("weir.degrade", function()
    local degrade

    before_each(function()
        now, age, sent = 100, 0, {}
        degrade = load_degrade()
    end)

    local function feed(knob, n, seconds)
        for _ = 1, n do
            knob:took(seconds)
        end
    end

    it("begins at full quality and stays there without times", function()
        local knob = degrade.new{target = 0.1}
        assert.are.equal(1, knob:get())
        now = now + 1000
        assert.are.equal(1, knob:get())
    end)

    it("is divided by two after a hundred times over the target, and not before", function()
        local knob = degrade.new{target = 0.1}
        feed(knob, 99, 0.2)
        assert.are.equal(1, knob:get())
        feed(knob, 1, 0.2)
        assert.are.equal(0.5, knob:get())
        feed(knob, 1000, 0.2)
        assert.are.equal(0.01, knob:get())
    end)

    it("looks at rare ones by the clock", function()
        local knob = degrade.new{target = 0.1}
        knob:took(0.5)
        now = now + 1.1
        knob:took(0.5)
        assert.are.equal(0.5, knob:get())
    end)

    it("is raised by a hundredth below the target, up to the full one", function()
        local knob = degrade.new{target = 0.1}
        feed(knob, 300, 0.2)
        assert.are.equal(0.125, knob:get())
        feed(knob, 100, 0.01)
        assert.is_true(math.abs(knob:get() - 0.135) < 1e-9)
        feed(knob, 100 * 200, 0.01)
        assert.are.equal(1, knob:get())
    end)

    it("goes by the percentile, not by the worst", function()
        local knob = degrade.new{target = 0.1}
        feed(knob, 91, 0.01)
        feed(knob, 9, 9)
        assert.are.equal(1, knob:get())
        feed(knob, 89, 0.01)
        feed(knob, 11, 9)
        assert.are.equal(0.5, knob:get())
    end)

    it("does nothing between low and high", function()
        local knob = degrade.new{target = 0.1}
        feed(knob, 200, 0.2)
        feed(knob, 500, 0.1)
        assert.are.equal(0.25, knob:get())
    end)

    it("around a handler gives it the quality and measures it", function()
        local knob, seen = degrade.new{target = 0.1, samples = 1}, {}
        local handle = knob:around(function(event, quality) seen[#seen + 1] = event .. quality end)
        age = 1
        handle("a")
        handle("b")
        assert.are.same({"a1", "b0.5"}, seen)
        assert.are.equal(0.25, knob:get())
    end)

    it("says what is wrong with its options", function()
        for message, options in pairs{
            ["there is no option 'traget'"] = {traget = 1},
            ["`target` must be a number over 0, it is nil"] = {},
            ["`min` must be a number over 0, it is -1"] = {target = 1, min = -1},
            ["min is at most max"] = {target = 1, min = 2},
            ["`target` must be a number over 0, it is 100ms"] = {target = "100ms"},
        } do
            local ok, text = pcall(degrade.new, options)
            assert.is_false(ok)
            assert.is_truthy(text:find(message, 1, true), text)
        end
    end)

    it("as a stage says the quality to what comes after it, by the load of the stage that it watches", function()
        local stage = degrade.stage
        assert.is_false(pcall(stage.init, {config = {target = 0.1}}))
        stage.init{config = {target = 0.1, watch = "page"}}
        queue = {queued = 0, running = 0, rate = 0}
        stage.handle{id = 1}
        assert.are.same({"out", {id = 1, quality = 1}}, sent[1])
        queue = {queued = 90, running = 10, rate = 100}
        now = now + 0.1
        stage.handle{id = 2}
        assert.are.equal(0.5, sent[2][2].quality)
        now = now + 0.01 -- too soon for another look
        stage.handle{id = 3}
        assert.are.equal(0.5, sent[3][2].quality)
        queue = {queued = 0, running = 1, rate = 100}
        now = now + 0.1
        stage.handle{id = 4}
        assert.is_true(math.abs(sent[4][2].quality - 0.51) < 1e-9)
    end)
end)
