-- weir.call over two pools with two threads each: answers find their callers, and nothing is left of those that end early.
local support = require "tests.e2e.support"

local quote = support.quote

local yaml = [[
weir: 1
pools: {main: {threads: 2}, side: {threads: 2}}
stages:
  web: {source: http, listen: "127.0.0.1:0", to: page}
  page:
    handler: page.lua
    concurrency: 20000
    queue: {capacity: 20000}
    to: {price: price}
  price:
    handler: price.lua
    pool: side
    concurrency: 20000
    queue: {capacity: 20000}
]]

-- 100 calls for each request: each must get its own answer.
local page = [[
local weir = require "weir"
return function(req)
    local sum, missing = 0, 0
    for i = 1, 100 do
        local price, reason = weir.call("price", {i, slow = req.query == "slow"}, req.query == "slow" and 0.3 or 10)
        if reason then missing = missing + 1 else assert(price == i * 10) sum = sum + price end
    end
    req:reply(200, sum .. " " .. missing)
end
]]

local price = [[
local weir = require "weir"
return function(item)
    if item.slow and item[1] % 25 == 0 then
        weir.sleep(1)
    elseif item[1] % 2 == 0 then
        weir.sleep(0)
    end
    weir.answer(item[1] * 10)
end
]]

describe("weir.call between pools", function()
    local weir

    before_each(function()
        weir = support.start {["weir.yaml"] = yaml, ["page.lua"] = page, ["price.lua"] = price}
    end)

    after_each(function()
        assert.are.equal(0, weir:stop(), weir:stderr())
        assert.is_nil(weir:stderr():find("Sanitizer", 1, true))
        support.clean()
    end)

    it("gives every caller its answer", function()
        for _ = 1, 50 do
            local body, status = support.curl(quote(weir.url))
            assert.are.equal(200, status, body)
            assert.are.equal("50500 0", body)
        end
    end)

    it("gives up in time and goes on", function()
        for _ = 1, 3 do
            assert.are.equal("48000 4", (support.curl(quote(weir.url .. "?slow"))))
        end
    end)
end)
