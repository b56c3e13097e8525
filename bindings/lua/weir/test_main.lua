-- What `weir test` runs: busted with the words in `arg`. Returns whether all passed; nil and what is not there.
local coverage = ...

-- Debian has busted for every Lua at these places; the program's own Lua looks there, too.
local function look_in(places)
    for _, place in ipairs(places) do
        package.path = package.path .. (";%s/?.lua;%s/?/init.lua"):format(place, place)
    end
end

package.path = "./?.lua;./?/init.lua;" .. package.path
if not os.getenv "LUA_PATH_5_4" and not os.getenv "LUA_PATH" then -- who sets one says where to look
    look_in {"/usr/local/share/lua/5.4", "/usr/share/lua/5.4"}
end

local ok, runner = pcall(require, "busted.runner")
if not ok then
    if type(runner) == "string" and runner:find("module 'busted.runner' not found", 1, true) then
        return nil, "busted is not installed: its Debian package is lua-busted (elsewhere: luarocks install busted)"
    end
    error(runner, 0)
end

local covered
if coverage then
    local found, luacov = pcall(require, "luacov.runner")
    if not found then
        return nil, "--coverage needs luacov, which is not installed: luarocks install luacov"
    end
    covered = luacov
    covered.init(covered.load_config())
end

-- busted ends the process by os.exit, with how many specs failed.
local ended = {}
local failed = 0
function os.exit(code) -- luacheck: ignore
    if not debug.getinfo(2, "S").source:find("busted/compatibility", 1, true) then
        error("os.exit would end the whole run, not this test", 2)
    end
    failed = code == true and 0 or code == false and 1 or code or 0
    error(ended, 0)
end

local fine, why = xpcall(runner, function(e)
    return e == ended and e or debug.traceback(tostring(e), 2)
end, {standalone = false})
if covered then
    covered.shutdown()
end
if not fine and why ~= ended then
    error(why, 0)
end
return failed == 0
