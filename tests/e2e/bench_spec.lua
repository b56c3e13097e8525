-- The load generators of tests/bench count all that they send, whatever becomes of it; and plots have what they are given.
local json = require "cjson"
local support = require "tests.e2e.support"

package.path = support.root .. "/tests/bench/?.lua;" .. package.path
local plot = require "plot"

local folder

local function compile(name)
    local path = folder .. "/" .. name
    assert(os.execute(("cc -std=c11 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -o %s %s/tests/bench/%s.c -lm"):format(path, support.root, name)))
    return path
end

local hello = {
    ["weir.yaml"] = 'weir: 1\nstages:\n  web: {source: http, listen: "127.0.0.1:0", to: page}\n  page: {handler: page.lua}\n',
    ["page.lua"] = 'return function(req) req:reply(200, "hello\\n") end\n',
}
-- One call at a time, 50 ms each, and one that waits: the rest is refused.
local busy = {
    ["weir.yaml"] = [[
weir: 1
classes: [gold, bulk]
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", class: {header: X-Class}, to: page}
  page: {handler: page.lua, concurrency: 1, queue: {capacity: 1}}
]],
    ["page.lua"] = 'local weir = require "weir"\nreturn function(req) weir.sleep(0.05) req:reply(200, "late\\n") end\n',
}

local function run(program, port, arguments)
    local lines = {}
    for line in support.shell(("%s %d %s"):format(program, port, arguments)):gmatch "[^\n]+" do
        lines[#lines + 1] = json.decode(line)
    end
    return table.unpack(lines)
end

local function sum_of(r)
    return r.good + r.late + r.refused + r.other + r.failed + r.unfinished
end

describe("a load generator", function()
    before_each(function() folder = support.tempdir() end)
    after_each(support.clean)

    it("in an open loop counts every request once", function()
        local open_loop = compile "open_loop"
        local host = support.start(hello)
        for _, pooled in ipairs {"", "pooled=4"} do
            local r = run(open_loop, host.port, "1 100 " .. pooled)
            assert.is_true(r.sent >= 95, r.sent .. " sent")
            assert.are.equal(r.sent, r.good + r.late)
        end
        host = support.start(busy)
        local all, gold, bulk = run(open_loop, host.port, "1 200 poisson class=gold:0.2 class=bulk:0.8")
        assert.is_true(all.refused > 20 and all.good > 0, all.refused .. " refused, " .. all.good .. " good")
        assert.are.equal(all.sent, sum_of(all))
        assert.are.equal(all.sent, gold.sent + bulk.sent)
        assert.is_true(bulk.sent > gold.sent)
        assert.are.equal(bulk.sent, sum_of(bulk))
        host:stop()
        local r = run(open_loop, host.port, "0.2 100")
        assert.are.equal(r.sent, r.failed)
    end)

    it("in a closed loop counts what each client was answered, and what it was not", function()
        local closed_loop = compile "closed_loop"
        local host = support.start(hello)
        local r = run(closed_loop, host.port, "1 4 think_ms=5")
        assert.is_true(r.answered > 50, r.answered .. " answered")
        assert.are.equal(0, r.refused + r.other + r.failed + r.unfinished)
        assert.is_true(r.jain > 0.8 and r.jain <= 1, r.jain)
        assert.is_true(r.little > 0.5 and r.little < 1.2, r.little)
        r = run(closed_loop, host.port, "0.3 2 dirs=3 path=/none")
        assert.is_true(r.answered > 0) -- hello answers any path
        host = support.start(busy)
        r = run(closed_loop, host.port, "1 8 think_ms=5")
        assert.is_true(r.refused > 0 and r.answered > 0)
        host:stop()
        r = run(closed_loop, host.port, "0.2 3 think_ms=10")
        assert.are.equal(0, r.answered)
        assert.is_true(r.failed > 3)
    end)
end)

describe("a plot", function()
    it("has a line for each series, and axes that hold them", function()
        local svg = plot.draw {title = "a < b", x = {label = "n", log = 2}, y = {label = "rate"}, y2 = {label = "ms", log = true}, series = {
            {name = "one", points = {{1, 0}, {1024, 950}}}, {name = "two", second = true, points = {{1, 0.5}, {1024, 80}}}}}
        local _, paths = svg:gsub("<path ", "")
        assert.are.equal(2, paths)
        assert.matches("a &lt; b", svg, 1, true)
        assert.matches(">1k</text>", svg, 1, true)
        assert.matches(">0.1</text>", svg, 1, true)
        for number in svg:gmatch 'd="M([%d. L-]+)"' do
            local values = {}
            for value in number:gmatch "[%d.-]+" do
                values[#values + 1] = tonumber(value)
            end
            for i = 1, #values, 2 do
                assert.is_true(values[i] >= 70 and values[i] <= 570 and values[i + 1] >= 42 and values[i + 1] <= 284, number)
            end
        end
    end)
end)
