-- bindings/lua/weir/meta_test.lua, the editor types of weir.test, against the module itself: every function there is, both ways.
local folder = "bindings/lua/weir/"

-- Functions by "owner.name"; `owners` says what an owner in the source is called in the types.
local function functions_of(file, owners)
    local names = {}
    for line in io.lines(folder .. file) do
        local owner, name = line:match("^function ([%w.]+)[.:]([%w_]+)%(")
        local known = owner and owners[owner]
        if known then
            names[known .. "." .. name] = true
        end
        owner, name = line:match("^(%u%w+)%.([%w_]+) = %u%w+%.[%w_]+$") -- the same under another name
        if owner and owners[owner] then
            names[owners[owner] .. "." .. name] = true
        end
    end
    return names
end

local function sorted(...)
    local list = {}
    for _, set in ipairs {...} do
        for name in pairs(set) do
            list[#list + 1] = name
        end
    end
    table.sort(list)
    return list
end

describe("the editor types of weir.test", function()
    it("have every function that there is, and no other", function()
        local module = functions_of("test.lua", {M = "t", ["M.fault"] = "t.fault", Result = "Result", App = "App", Stage = "Stage"})
        local fakes = functions_of("test_fakes.lua", {M = "t.fake", Peer = "Peer"})
        local types = functions_of("meta_test.lua", {t = "t", ["t.fault"] = "t.fault", ["t.fake"] = "t.fake", ["t.clock"] = "t.clock",
            Result = "Result", App = "App", Stage = "Stage", Peer = "Peer"})
        for name in pairs {["Result.look_at_answers"] = 1, ["Result.look_at_ledgers"] = 1} do
            module[name] = nil -- for the module's own use
        end
        assert.are.same(sorted(module, fakes, {["t.clock.advance"] = true}), sorted(types))
    end)

    it("know what a request may have", function()
        local source = assert(io.open(folder .. "test.lua")):read("a")
        local keys, fields = {}, {}
        for name in source:match('for name in %("([%l ]+)"%)'):gmatch("%a+") do
            keys[name] = true
        end
        local inside = false
        for line in io.lines(folder .. "meta_test.lua") do
            local class = line:match("^%-%-%-@class ([%w.]+)")
            inside = class == "weir.test.RequestSpec" or (inside and not class)
            local field = line:match("^%-%-%-@field ([%w_]+)")
            if inside and field then
                fields[field] = true
            end
        end
        assert.are.same(sorted(keys), sorted(fields))
    end)
end)
