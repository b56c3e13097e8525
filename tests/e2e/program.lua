-- The program as its users type it: support.lua, and places to type in. A spec calls M.clean() in after_each.
local support = require "tests.e2e.support"

local M = setmetatable({}, {__index = support})

-- A place: `home`, a folder to run in, and a runtime folder of its own, so that no test sees another's host.
local Place = {}
Place.__index = Place

function M.place()
    local root = support.tempdir()
    local place = setmetatable({root = root, home = root .. "/home", runtime = root .. "/run"}, Place)
    assert(os.execute(("mkdir -m 700 %s %s"):format(place.home, place.runtime)))
    return place
end

function Place:write(name, text)
    support.write(self.home .. "/" .. name, text)
end

-- The shell's line that becomes weir. `before`: a program that runs it, such as timeout.
function Place:command(arguments, env, before)
    local words = {"cd", M.quote(self.home), "&& exec env -u WEIR_ADMIN", "XDG_RUNTIME_DIR=" .. M.quote(self.runtime)}
    for name, value in pairs(env or {}) do
        words[#words + 1] = name .. "=" .. M.quote(value)
    end
    words[#words + 1] = before or ""
    words[#words + 1] = M.quote(M.bin)
    for _, argument in ipairs(arguments) do
        words[#words + 1] = M.quote(argument)
    end
    return table.concat(words, " ")
end

-- Runs weir to its end: exit status, stdout, stderr. 124: it did not end within 60 s.
function Place:weir(arguments, env)
    local out, err = self.root .. "/stdout", self.root .. "/stderr"
    local line = self:command(arguments, env, "timeout -k 5 60")
    local _, status = M.shell(("( %s ) >%s 2>%s </dev/null"):format(line, out, err))
    return status, M.read(out), M.read(err)
end

-- Starts `weir run ARGUMENTS`: a server of support.lua.
function Place:start(arguments, env)
    return support.start_command(self:command({"run", table.unpack(arguments)}, env))
end

return M
