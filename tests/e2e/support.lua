-- What the end-to-end specs share: weir started on an application, plain sockets, curl. A spec that starts anything
-- calls M.clean() in after_each: it ends what is still running and removes the folders.
local socket = require "socket"
socket.unix = require "socket.unix"

local M = {}

local function shell(command)
    local pipe = assert(io.popen(command))
    local output = pipe:read("a")
    local _, _, status = pipe:close()
    return output, status
end

M.shell = shell
M.root = shell("pwd"):match("^(.-)\n$")
M.bin = os.getenv("WEIR_BIN") or ("build/%s/weir"):format(os.getenv("WEIR_PRESET") or "dev")
if M.bin:sub(1, 1) ~= "/" then
    M.bin = M.root .. "/" .. M.bin
end
M.bindir = M.bin:match("^(.*)/[^/]*$")

local folders, servers = {}, {}

function M.quote(text)
    return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
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
    assert(os.execute("mkdir -p " .. M.quote(path:match("^(.*)/") or ".")))
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
end

-- A new folder; M.clean removes it.
function M.tempdir()
    local path = shell("mktemp -d /tmp/weir-e2e-XXXXXX"):match("%S+")
    folders[#folders + 1] = path
    return path
end

-- A TCP port of 127.0.0.1 that was free just now.
function M.free_port()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    server:close()
    return tonumber(port)
end

-- Waits until `done()` is true, `seconds` at most. It bounds how long we look; it does not order anything.
function M.wait(seconds, what, done)
    local limit = socket.gettime() + seconds
    local value = done()
    while not value do
        assert(socket.gettime() < limit, ("not within %g s: %s"):format(seconds, what))
        socket.sleep(0.005)
        value = done()
    end
    return value
end

-- ---- processes ----

local Server = {}
Server.__index = Server

function Server:stderr()
    return M.read(self.log .. ".err") or ""
end

function Server:stdout()
    return M.read(self.log .. ".out") or ""
end

function Server:signal(name)
    return os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid))
end

-- Its exit status, nil while it runs.
function Server:status()
    return tonumber(M.read(self.log .. ".status") or "")
end

-- Waits for its end and returns the exit status.
function Server:wait(seconds)
    return M.wait(seconds or 60, "end of " .. self.command, function()
        return self:status()
    end)
end

-- Ends it as an operator would and returns the exit status.
function Server:stop()
    if not self:status() then
        self:signal("TERM")
    end
    return self:wait()
end

-- A figure of /proc/PID/status in KiB, such as VmRSS.
function Server:memory(name)
    return tonumber((M.read(("/proc/%d/status"):format(self.pid)) or ""):match(name .. ":%s*(%d+)"))
end

-- Starts a shell command whose last part is `exec PROGRAM` (so that its process can be signalled) and waits for its
-- `ready` line. .ready is that line, .urls the addresses in it, .url the first, .port its port.
function M.start_command(command)
    local server = setmetatable({command = command, log = M.tempdir() .. "/host"}, Server)
    local line = "( ( %s ) >LOG.out 2>LOG.err & echo $! >LOG.pid; wait $!; echo $? >LOG.status )"
    line = line:gsub("LOG", server.log):format(command) .. " </dev/null >/dev/null 2>&1 &"
    assert(os.execute("bash -c " .. M.quote(line)))
    server.pid = M.wait(10, "process of " .. command, function()
        return tonumber(M.read(server.log .. ".pid") or "")
    end)
    servers[#servers + 1] = server
    server.ready = M.wait(60, "ready: " .. command, function()
        assert(not server:status(), "it ended: " .. command .. "\n" .. server:stderr())
        return ("\n" .. server:stderr()):match("\n(ready[^\n]*)\n")
    end)
    server.urls = {}
    for url in server.ready:gmatch("%S+") do
        if url ~= "ready" then
            server.urls[#server.urls + 1] = url
        end
    end
    server.url = server.urls[1]
    server.port = tonumber((server.url or ""):match(":(%d+)$"))
    return server
end

-- Writes an application (file name → text) to a folder of its own and runs it. `options`: args (a list), env (name →
-- value).
function M.start(files, options)
    options = options or {}
    local folder = M.tempdir()
    for name, text in pairs(files) do
        M.write(folder .. "/app/" .. name, text)
    end
    assert(os.execute("mkdir -m 700 " .. folder .. "/run"))
    local words = {"cd", M.quote(folder .. "/app"), "&& exec env", "XDG_RUNTIME_DIR=" .. M.quote(folder .. "/run")}
    for name, value in pairs(options.env or {}) do
        words[#words + 1] = name .. "=" .. M.quote(value)
    end
    words[#words + 1] = M.quote(M.bin) .. " run"
    for _, argument in ipairs(options.args or {}) do
        words[#words + 1] = M.quote(argument)
    end
    local server = M.start_command(table.concat(words, " "))
    server.folder = folder .. "/app"
    return server
end

function M.clean()
    for _, server in ipairs(servers) do
        if not server:status() then
            server:signal("KILL")
        end
    end
    for _, folder in ipairs(folders) do
        os.execute("rm -rf " .. M.quote(folder))
    end
    servers, folders = {}, {}
end

-- ---- clients ----

-- curl's body and status; `arguments` as for the shell.
function M.curl(arguments)
    local output = shell("curl -s -m 20 -w '\\n%{http_code}' " .. arguments)
    local body, status = output:match("^(.*)\n(%d+)$")
    return body, tonumber(status)
end

local Client = {}
Client.__index = Client

-- A connection to 127.0.0.1:PORT, or to "unix:PATH". Each read waits 10 s at most.
function M.connect(address)
    local sock
    if type(address) == "string" and address:match("^unix:") then
        sock = assert(socket.unix())
        assert(sock:connect(address:match("^unix:(.*)$")))
    else
        sock = assert(socket.connect("127.0.0.1", address))
        sock:setoption("tcp-nodelay", true)
    end
    sock:settimeout(10)
    return setmetatable({sock = sock, buffer = ""}, Client)
end

function Client:send(text)
    return self.sock:send(text)
end

-- One read: more bytes, or nil and "closed" or "timeout".
function Client:more()
    local text, why, part = self.sock:receive(65536)
    text = text or part
    if text and #text > 0 then
        self.buffer = self.buffer .. text
        return text
    end
    return nil, why
end

-- Exactly `n` bytes, or nil and what came instead.
function Client:take(n)
    local parts, have = {self.buffer}, #self.buffer
    self.buffer = ""
    while have < n do
        local text, why, part = self.sock:receive(math.min(n - have, 65536))
        text = text or part
        if not text or #text == 0 then
            return nil, why, table.concat(parts)
        end
        parts[#parts + 1], have = text, have + #text
    end
    local all = table.concat(parts)
    self.buffer = all:sub(n + 1)
    return all:sub(1, n)
end

-- A line without its end.
function Client:line()
    while not self.buffer:find("\r\n", 1, true) do
        local text, why = self.sock:receive(1)
        if not text then
            return nil, why
        end
        self.buffer = self.buffer .. text
    end
    local line
    line, self.buffer = self.buffer:match("^(.-)\r\n(.*)$")
    return line
end

local function read_chunks(client)
    local parts = {}
    while true do
        local line, why = client:line()
        local size = line and tonumber(line, 16)
        if not size then
            return nil, why or "bad chunk"
        end
        local chunk = client:take(size)
        if not chunk or client:line() ~= "" then
            return nil, "cut"
        end
        if size == 0 then
            return table.concat(parts)
        end
        parts[#parts + 1] = chunk
    end
end

-- One answer: {status=, reason=, headers= (by lower-case name), body=, cut= (why it is not whole)}; nil and why when
-- nothing came. `method` HEAD has no body.
function Client:answer(method)
    local line, why = self:line()
    if not line then
        return nil, why
    end
    local a = {headers = {}}
    a.status, a.reason = line:match("^HTTP/1%.1 (%d%d%d) (.*)$")
    a.status = assert(tonumber(a.status), "no status line: " .. line)
    for header in function() local h = self:line() return h ~= "" and h or nil end do
        local name, value = header:match("^([^:]+):%s*(.-)%s*$")
        a.headers[name:lower()] = value
    end
    local length = tonumber(a.headers["content-length"])
    if method == "HEAD" or a.status == 204 or a.status == 304 or a.status < 200 then
        a.body = ""
    elseif a.headers["transfer-encoding"] == "chunked" then
        a.body, a.cut = read_chunks(self)
    elseif length then
        a.body, a.cut = self:take(length)
    else
        while self:more() do end
        a.body, self.buffer = self.buffer, ""
    end
    return a
end

-- Whether the other side ends the connection without saying more.
function Client:is_closed()
    return #self.buffer == 0 and self.sock:receive(1) == nil
end

-- Ends the connection with a reset: what we have not read makes the kernel do so.
function Client:reset()
    self.sock:setoption("linger", {on = true, timeout = 0})
    self.sock:close()
end

function Client:close()
    self.sock:close()
end

-- Sends `text` on a connection of its own and returns the one answer.
function M.ask(address, text)
    local client = M.connect(address)
    client:send(text)
    local answer, why = client:answer(text:match("^%u+"))
    client:close()
    return answer, why
end

-- A GET as text, with more header lines.
function M.get(path, ...)
    local headers = table.concat({...}, "\r\n") .. (select("#", ...) > 0 and "\r\n" or "")
    return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"):format(path, headers)
end

return M
