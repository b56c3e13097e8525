-- Runs the program for the tests of its commands: each with a runtime folder of its own, so that no test sees another's host.
local socket = require "socket"

local M = {}

M.bin = os.getenv("WEIR_BIN") or "build/dev/weir"
M.top = assert(io.popen("pwd")):read("l")
if M.bin:sub(1, 1) ~= "/" then
    M.bin = M.top .. "/" .. M.bin
end

function M.quote(text)
    return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

function M.shell(command)
    local pipe = assert(io.popen(command))
    local output = pipe:read("a")
    local _, _, status = pipe:close()
    return output, status
end

function M.read(path)
    local file = io.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("a")
    file:close()
    return text
end

function M.write(path, text)
    local folder = path:match("^(.*)/[^/]*$")
    assert(os.execute("mkdir -p " .. M.quote(folder)))
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
end

-- A place: a folder that is removed by its :remove(), with `home` to run in and a runtime folder beside it.
local Place = {}
Place.__index = Place

function M.place()
    local root = M.shell("mktemp -d /tmp/weir-e2e-XXXXXX"):match("%S+")
    local place = setmetatable({root = root, home = root .. "/home", runtime = root .. "/run", hosts = {}}, Place)
    assert(os.execute(("mkdir -m 700 %s %s"):format(place.home, place.runtime)))
    return place
end

function Place:write(name, text)
    M.write(self.home .. "/" .. name, text)
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

local Host = {}
Host.__index = Host

-- Waits up to `seconds` until `done()` is true. Looking again is not ordering by time: it only bounds how long we look.
function M.wait(seconds, what, done)
    local limit = socket.gettime() + seconds
    while not done() do
        assert(socket.gettime() < limit, "not within " .. seconds .. " s: " .. what)
        socket.sleep(0.01)
    end
end

-- Starts `weir run ARGUMENTS` and waits for its `ready` line.
function Place:start(arguments, env)
    local number = #self.hosts + 1
    local host = setmetatable({place = self, log = ("%s/host%d"):format(self.root, number)}, Host)
    local line = self:command({"run", table.unpack(arguments)}, env)
    local output = M.shell(("( %s ) >%s.out 2>%s.err </dev/null & echo $!"):format(line, host.log, host.log))
    host.pid = assert(tonumber(output:match("%d+")))
    self.hosts[number] = host
    M.wait(60, "ready: " .. table.concat(arguments, " "), function()
        assert(host:alive(), host:stderr())
        return ("\n" .. host:stderr()):find("\nready[^\n]*\n")
    end)
    host.ready = ("\n" .. host:stderr()):match("\n(ready[^\n]*)\n")
    host.url = host.ready:match("(http://%S+)")
    return host
end

function Host:stderr()
    return M.read(self.log .. ".err") or ""
end

-- A process that has ended and that nobody waits for is a zombie or gone.
function Host:alive()
    local stat = M.read(("/proc/%d/stat"):format(self.pid))
    return stat ~= nil and stat:match("%) (%S)") ~= "Z"
end

function Host:signal(name)
    assert(os.execute(("kill -%s %d"):format(name, self.pid)))
end

function Host:stop()
    if self:alive() then
        self:signal("TERM")
        M.wait(60, "end of the host", function()
            return not self:alive()
        end)
    end
end

function Place:remove()
    for _, host in ipairs(self.hosts) do
        if host:alive() then
            host:signal("KILL")
        end
    end
    os.execute("rm -rf " .. M.quote(self.root))
end

-- curl: the answer's body and its status. `arguments` as for the shell.
function M.curl(arguments)
    local output = M.shell("curl -s -m 20 -w '\\n%{http_code}' " .. arguments)
    local body, status = output:match("^(.*)\n(%d+)$")
    return body, tonumber(status)
end

return M
