local apps = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "apps.lua")
apps.use "haboob"
local lru = require "lru"

describe("the page cache's LRU", function()
    it("gives back what was put", function()
        local c = lru.new(10000)
        assert.is_true(c:put("a", "A", 100))
        assert.are.equal("A", c:get("a"))
        assert.is_nil(c:get("b"))
    end)

    it("forgets what was used longest ago when the bytes are used up", function()
        local c = lru.new(3000)
        c:put("a", 1, 500)
        c:put("b", 2, 500)
        c:put("c", 3, 500)
        c:get("a")
        c:put("d", 4, 500)
        assert.is_nil(c:get("b"))
        assert.are.same({1, 3, 4}, {c:get("a"), c:get("c"), c:get("d")})
        assert.are.equal(1, c.evicted)
    end)

    it("replaces a value and its bytes", function()
        local c = lru.new(10000)
        c:put("a", 1, 5000)
        local before = c.bytes
        c:put("a", 2, 100)
        assert.are.equal(2, c:get("a"))
        assert.are.equal(before - 4900, c.bytes)
        assert.are.equal(1, c.count)
    end)

    it("refuses what is larger than all there is, and drops the old value", function()
        local c = lru.new(1000)
        c:put("a", 1, 100)
        assert.is_false(c:put("a", 2, 1000))
        assert.is_nil(c:get("a"))
        assert.are.same({0, 0}, {c.bytes, c.count})
    end)

    it("stays within its bytes and agrees with a plain list under random use", function()
        math.randomseed(7)
        local capacity = 20000
        local c, order = lru.new(capacity), {} -- order: keys, newest first
        local function touch(key)
            for i, k in ipairs(order) do
                if k == key then
                    table.remove(order, i)
                    break
                end
            end
            table.insert(order, 1, key)
        end
        local sizes = {}
        for _ = 1, 5000 do
            local key = math.random(60)
            if math.random() < 0.4 then
                sizes[key] = math.random(3000)
                if c:put(key, key, sizes[key]) then
                    touch(key)
                end
                while #order > c.count do
                    assert.is_nil(c.nodes[table.remove(order)], "the oldest goes first")
                end
            elseif c:get(key) then
                touch(key)
            end
            assert.is_true(c.bytes <= capacity)
        end
        for _, key in ipairs(order) do
            assert.are.equal(key, c:get(key))
        end
        assert.is_true(c.evicted > 100)
    end)

    it("removes a key", function()
        local c = lru.new(1000)
        c:put("a", 1, 10)
        c:remove("a")
        c:remove("never there")
        assert.are.same({0, 0}, {c.bytes, c.count})
    end)
end)
