-- What handlers call in other places, and how that fails: weir.http, tcp, dns, fs, spawn, sleep, from outside.
-- luacheck: no max line length
local support = require "tests.e2e.support"

local quote, shell = support.quote, support.shell

local yaml = [[
weir: 1
pools: {main: {threads: 1}}
stages:
  web: {source: http, listen: "127.0.0.1:0", max_body: 64MiB, to: page}
  page:
    handler: page.lua
    libs: all
    concurrency: 20000
    limits: {memory: 128MiB, wall: 30s, stall: 500ms} # long strings are made on loaded machines
    queue: {capacity: 20000}
]]

-- A handler that runs the function which the request's body is, and answers what it returns, a line each.
local page = [[
local weir = require "weir"
return function(req)
    local f = assert(load(req.body, "=body", "t", setmetatable({weir = weir, req = req}, {__index = _G})))
    local results = table.pack(pcall(f))
    for i = 1, results.n do
        results[i] = tostring(results[i])
    end
    if req:alive() then
        req:reply(200, table.concat(results, "\n", 2))
    end
end
]]

local peer_command = ("cd %s && exec lua5.4 tests/e2e/peer.lua"):format(quote(support.root))
local weir, peer

-- Runs `text` in a handler: the lines of its results. PEER stands for the peer's address.
local function run(text)
    support.write(weir.folder .. "/body", (text:gsub("PEER", peer.url)))
    local body, status = support.curl(("--data-binary @%s/body %s"):format(quote(weir.folder), weir.url))
    assert.are.equal(200, status, body)
    return body
end

local function failure(text)
    local got, message, code = run(text):match("^(.-)\n(.-)\n(.*)$")
    assert.are.equal("nil", got)
    assert.is_true(#message > 0)
    return code, message
end

describe("a call to another service", function()
    before_each(function()
        weir = support.start({["weir.yaml"] = yaml, ["page.lua"] = page})
        peer = support.start_command(peer_command)
    end)

    after_each(function()
        if not weir then
            return support.clean()
        end
        assert.are.equal(0, weir:stop(), weir:stderr())
        assert.is_nil(weir:stderr():find("runtime error", 1, true))
        assert.is_nil(weir:stderr():find("Sanitizer", 1, true))
        support.clean()
    end)

    it("gets an answer", function()
        assert.are.equal("200\nhello\n\npeer", run [[
            local a = weir.http.request "PEER/hello"
            return a.status, a.body, a.headers["x-peer"]
        ]])
        assert.are.equal("200\none two three\n\na=1 b=2\n1, 2\nnil", run [[
            local a = weir.http.request "PEER/chunked"
            return a.status, a.body, table.concat(a.cookies, " "), a.headers["x-twice"], a.headers["x-trailer"]
        ]])
        assert.are.equal("404\nstatus 404\n", run [[
            local a = weir.http.request {url = "PEER/status/404"}
            return a.status, a.body
        ]])
    end)

    it("sends bodies, headers and methods as they were given", function()
        assert.are.equal("PUT\nthe body", run [[
            local a = weir.http.request {url = "PEER/echo", method = "PUT", body = "the body"}
            return a.headers["x-method"], a.body
        ]])
        local lines = run [[
            return weir.http.request {url = "PEER/headers?q=1", body = "{}", headers = {["X-One"] = "1", ["x-empty"] = ""}}.body
        ]]
        assert.is_truthy(lines:find("POST /headers?q=1\n", 1, true), lines)
        assert.is_truthy(lines:find("x-one: 1\n", 1, true), lines)
        assert.is_truthy(lines:find("x-empty: \n", 1, true), lines)
        assert.is_nil(lines:find("content-type", 1, true), lines)
        assert.is_nil(lines:find("expect", 1, true), lines)
    end)

    it("streams a body from a function, with and without a length", function()
        local text = [[
            local n = 0
            local a = weir.http.request {url = "PEER/echo", method = "POST", %s body = function()
                n = n + 1
                weir.sleep(0.002)
                if n <= 3 then return ("abc"):rep(n) end
            end}
            return a.headers["x-method"], a.body
        ]]
        assert.are.equal("POST\nabcabcabcabcabcabc", run(text:format("")))
        assert.are.equal("POST\nabcabcabcabcabcabc", run(text:format("body_size = 18,")))
    end)

    it("ends the request when the body's function fails", function()
        assert.is_truthy(run([[
            local ok, why = pcall(weir.http.request, {url = "PEER/echo", body = function() error "no more" end})
            return ok, why
        ]]):find("^false\n.*no more"))
        assert.is_truthy(run([[
            return pcall(weir.http.request, {url = "PEER/echo", body = function() return 1 end})
        ]]):find("^false\n.*must return a string or nil"))
    end)

    it("gives the head of a streamed answer before its body", function()
        assert.are.equal("200\ntext/event-stream\nevent\n", run [[
            local a <close> = weir.http.request {url = "PEER/events", stream = true}
            return a.status, a.headers["content-type"], (a:read())
        ]])
    end)

    it("lets a peer wait that sends faster than the script reads", function()
        local before = weir:memory "VmRSS"
        local sizes = run [[
            local a = weir.http.request {url = "PEER/big/50000000", stream = true}
            weir.sleep(0.5)
            local moved = weir.http.request("PEER/moved").body
            local n = 0
            for chunk in function() return a:read() end do n = n + #chunk end
            return n, moved
        ]]
        local n, sent = sizes:match("^(%d+)\n(%d+)")
        assert.are.equal(50000000, tonumber(n))
        assert.is_true(tonumber(sent) < 12000000, "sent ahead: " .. sent) -- what sockets hold
        assert.is_true(os.getenv("WEIR_PRESET") ~= nil or weir:memory "VmHWM" - before < 16384, "it grew")
    end)

    it("lets the body's function wait while the peer is slow", function()
        local before = weir:memory "VmRSS"
        local result = run [[
            local asked = 0
            weir.defer(function() end)
            local block = ("x"):rep(65536)
            local seen
            local body = function()
                asked = asked + 1
                if asked <= 700 then return block end
            end
            weir.fiber(function()
                weir.sleep(0.5)
                seen = asked
                weir.http.request "PEER/release/one"
            end)
            local a = weir.http.request {url = "PEER/upload/one", body = body}
            return a.body, seen
        ]]
        local n, seen = result:match("^(%d+)\n\n(%d+)$")
        assert.are.equal(700 * 65536, tonumber(n), result)
        assert.is_true(tonumber(seen) < 200, "asked ahead: " .. seen)
        assert.is_true(os.getenv("WEIR_PRESET") ~= nil or weir:memory "VmHWM" - before < 16384, "it grew")
    end)

    it("follows redirects, up to a number", function()
        assert.are.equal("200\narrived\n", run [[
            local a = weir.http.request "PEER/redirect/3"
            return a.status, a.body
        ]])
        assert.are.equal("302\n/redirect/2", run [[
            local a = weir.http.request {url = "PEER/redirect/3", redirects = 0}
            return a.status, a.headers.location
        ]])
        assert.are.equal("TOO_MANY_REDIRECTS", (failure [[return weir.http.request {url = "PEER/redirect/3", redirects = 2}]]))
        assert.is_truthy(run([[return weir.http.request {url = "PEER/see-other", method = "PUT", body = "x"}.body]]):find("^GET /headers"))
        assert.are.equal("arrived\n\n200", run [[
            local a = weir.http.request {url = "PEER/redirect/1", stream = true}
            return a:read(), a.status
        ]])
    end)

    it("names what went wrong", function()
        local codes = {
            ['weir.http.request "PEER/reset"'] = "ECONNRESET",
            ['weir.http.request "PEER/cut"'] = "TRUNCATED",
            ['weir.http.request "PEER/nothing"'] = "ECONNRESET",
            ['weir.http.request "PEER/garbage"'] = "BAD_ANSWER",
            ['weir.http.request "PEER/huge_header"'] = "TOO_LARGE",
            ['weir.http.request {url = "PEER/never", timeout = 0.2}'] = "TIMEOUT",
            ['weir.http.request {url = "PEER/slow", timeout = 1.3}'] = "TIMEOUT",
            ['weir.http.request {url = "PEER/big/100000", max_body = 1000}'] = "TOO_LARGE",
            ['weir.http.request "http://127.0.0.1:1/"'] = "ECONNREFUSED",
            ['weir.http.request "http://no-such-name.invalid/"'] = "ENOTFOUND",
            ['weir.http.request "gopher://127.0.0.1/"'] = "BAD_URL",
            ['weir.http.request "http://[::1"'] = "BAD_URL",
            ['weir.http.request {url = "http://x/", socket = "/nonexistent"}'] = "ENOENT",
            ['weir.tcp.connect("127.0.0.1:1")'] = "ECONNREFUSED",
            ['weir.tcp.connect("no-such-name.invalid", 80)'] = "ENOTFOUND",
            ['weir.tcp.connect("unix:/nonexistent")'] = "ENOENT",
            ['weir.dns.resolve "no-such-name.invalid"'] = "ENOTFOUND",
            ['weir.fs.read "nothing-here"'] = "ENOENT",
            ['weir.fs.read("weir.yaml", {max = 3})'] = "EFBIG",
            ['weir.fs.list "weir.yaml"'] = "ENOTDIR",
            ['weir.spawn {cmd = "no-such-program"}'] = "ENOENT",
            ['weir.spawn {cmd = "sleep", args = {"60"}, timeout = 0.1}'] = "TIMEOUT",
            ['weir.spawn {cmd = "sh", args = {"-c", "trap : TERM; while :; do :; done"}, timeout = 0.1}'] = "TIMEOUT",
            ['weir.spawn {cmd = "yes", max_output = 10000}'] = "TOO_LARGE",
            ['weir.spawn {cmd = "true", cwd = "nowhere"}'] = "ENOENT",
        }
        for text, code in pairs(codes) do
            local got, message = failure("return " .. text)
            assert.are.equal(code, got, text .. ": " .. message)
        end
    end)

    it("tells a body that is cut short while it is read", function()
        for manner, code in pairs {reset = "ECONNRESET", cut = "TRUNCATED"} do
            assert.are.equal("200\npartly\n" .. code, run(([[
                local a = weir.http.request {url = "PEER/%s", stream = true}
                local got, chunk, why, code = "", nil, nil, nil
                repeat
                    chunk, why, code = a:read()
                    got = got .. (chunk or "")
                until not chunk
                return a.status, got, code
            ]]):format(manner)))
        end
    end)

    it("makes no more connections to a host than it may", function()
        assert.are.equal("true\n40", run [[
            local done = 0
            local began = weir.now()
            weir.http.limits {per_host = 4}
            for _ = 1, 40 do
                weir.fiber(function()
                    local a = weir.http.request "PEER/late/0.05"
                    done = done + (a and a.status == 200 and 1 or 0)
                end)
            end
            while done < 40 do weir.sleep(0.01) end
            return weir.now() - began > 0.45, done -- ten rounds of 0.05 s
        ]])
    end)

    it("refuses what is misuse, in words", function()
        local texts = {
            ["weir.http.request {}"] = "`url` is missing",
            ['weir.http.request {url = "PEER", boddy = ""}'] = "there is no option 'boddy'",
            ['weir.http.request {url = "PEER", headers = {a = "x\\r\\ny: 1"}}'] = "line break",
            ['weir.http.request {url = "PEER", headers = {["Content-Length"] = "3"}}'] = "is the host's",
            ['weir.http.request {url = "PEER", timeout = "soon"}'] = "`timeout` must be a number of seconds",
            ["weir.sleep(-1)"] = "must be a number of seconds",
            ['weir.tcp.connect("127.0.0.1:1", {timout = 1})'] = "there is no option 'timout'; did you mean 'timeout'?",
            ['weir.tcp.connect("127.0.0.1:1", {tls = {certificat = "x"}})'] = "did you mean 'certificate'?",
            ['weir.fs.read("weir.yaml", {max = "1"})'] = "`max` must be an integer",
            ['weir.tcp.connect("nonsense")'] = "nonsense",
            ['table.sort({3, 2, 1}, function() weir.sleep(0) end)'] = "can't wait here",
            ['string.gsub("a", "a", function() return weir.http.request("PEER").body end)'] = "can't wait here",
            ['weir.spawn {cmd = "true", args = {1}}'] = "each of `args` must be a string",
            ['weir.spawn {cmd = "tr\\0ue"}'] = "NUL byte",
        }
        for text, expected in pairs(texts) do
            local got = run(("return select(2, pcall(function() return %s end))"):format(text))
            assert.is_truthy(got:find(expected, 1, true), text .. ": " .. got)
        end
    end)

    it("resolves names", function()
        assert.is_truthy(run('return weir.dns.resolve("localhost", "ipv4")[1]'):find("^127%."))
    end)

    it("talks over a connection", function()
        assert.are.equal("HTTP/1.1 200 X\nnil\nEOF", run(([[
            local c = assert(weir.tcp.connect("127.0.0.1", %d))
            c:write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            local line = c:read("line")
            while c:read("line") ~= "" do end
            c:read(6)
            c:shutdown()
            local rest, why, code = c:read()
            c:close()
            return line, rest, code
        ]]):format(peer.port)))
        assert.are.equal("nil\nTIMEOUT\ntrue\nhello", run(([[
            local c <close> = assert(weir.tcp.connect("127.0.0.1:%d"))
            local got, why, code = c:read("line", 0.05)
            local ok = c:write("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            while c:read("line") ~= "" do end
            return got, code, ok, c:read("line")
        ]]):format(peer.port)))
    end)

    it("lets a writer wait while the peer does not read", function()
        local result = run(([[
            local c <close> = assert(weir.tcp.connect("127.0.0.1:%d"))
            c:write("POST /upload/two HTTP/1.1\r\nHost: a\r\nContent-Length: 40000000\r\n\r\n")
            local block, written = ("x"):rep(1000000), 0
            local done
            weir.fiber(function()
                for _ = 1, 40 do c:write(block) written = written + 1 end
                done = true
            end)
            weir.sleep(0.3)
            local stuck = written
            weir.http.request "PEER/release/two"
            local line = c:read "line"
            return stuck, line, done
        ]]):format(peer.port))
        local stuck, line, done = result:match("^(%d+)\n(.-)\n(.*)$")
        assert.is_true(tonumber(stuck) < 20, result)
        assert.are.equal("HTTP/1.1 200 X", line)
        assert.are.equal("true", done)
    end)

    it("reads, writes, replaces, lists and removes files", function()
        assert.are.equal("onetwo\n6\nfile\nnew\na b\ntrue\nnil\nENOENT\net", run [[
            local fs = weir.fs
            assert(fs.mkdir "d")
            assert(fs.write("d/a", "one"))
            assert(fs.write("d/a", "two", {append = true}))
            local text, st = fs.read "d/a", fs.stat "d/a"
            local part = fs.read("d/a", {offset = 2, length = 2})
            assert(fs.write("d/b", "old"))
            assert(fs.write("d/b", "new", {replace = true, sync = true}))
            local b = fs.read "d/b"
            local names = fs.list "d"
            table.sort(names)
            assert(fs.rename("d/a", "d/c"))
            local gone, why, code = fs.read "d/a"
            assert(fs.remove "d/b") assert(fs.remove "d/c")
            local removed = fs.remove "d"
            return text, st.size, st.type, b, table.concat(names, " "), removed, gone, code, part
        ]])
    end)

    it("runs programs", function()
        assert.are.equal("0\nb\na\n\n\nnil", run [[
            local p = weir.spawn {cmd = "sort", args = {"-r"}, stdin = "a\nb\n"}
            return p.status, p.stdout, p.stderr, p.signal
        ]])
        assert.are.equal("7\nout\nerr", run [[
            local p = weir.spawn {cmd = "sh", args = {"-c", "printf out; printf err >&2; exit 7"}}
            return p.status, p.stdout, p.stderr
        ]])
        assert.are.equal("nil\n9", run [[
            local p = weir.spawn {cmd = "sh", args = {"-c", "kill -9 $$"}}
            return p.status, p.signal
        ]])
        assert.are.equal("A=1\n", run [[return weir.spawn {cmd = "env", env = {A = "1"}}.stdout]])
        assert.are.equal("true", run [[return weir.spawn{cmd = "pwd"}.stdout:match("app\n$") ~= nil]])
        -- no descriptor of the host's, no ignored signal
        assert.are.equal("0 1 2 3\n", run [[return (weir.spawn {cmd = "ls", args = {"/proc/self/fd"}}.stdout:gsub("\n(.)", " %1"))]])
        assert.is_truthy(run([[
            return weir.spawn {cmd = "sh", args = {"-c", "grep SigIgn /proc/self/status"}}.stdout
        ]]):find "0000000\n$") -- the C library has two above these for itself
        -- more input than a pipe holds, given back
        assert.are.equal("3000000", run [[return #weir.spawn {cmd = "cat", stdin = ("x"):rep(3000000), max_output = 4000000}.stdout]])
        -- input that nobody wants
        assert.are.equal("0", run [[return weir.spawn {cmd = "true", stdin = ("x"):rep(3000000)}.status]])
        -- what it leaves behind is not waited for
        assert.are.equal("early\n", run [[return weir.spawn {cmd = "sh", args = {"-c", "sleep 60 & echo early"}}.stdout]])
    end)

    it("ends with its call", function()
        -- the client is gone and the host is stopped at once: the program does not outlive it
        support.write(weir.folder .. "/body", 'return weir.spawn {cmd = "sleep", args = {"4711"}}')
        os.execute(("curl -s -m 0.5 --data-binary @%s/body %s >/dev/null"):format(quote(weir.folder), weir.url))
        weir:signal("TERM") -- waits for what is under way …
        weir:signal("TERM") -- … no longer
        assert.are.equal(1, weir:wait(10))
        weir = nil
        assert.are.equal("", (shell "pgrep -f '^sleep 4711$'"))
    end)

    it("holds thousands of sleepers at once", function()
        assert.are.equal("2000", run [[
            local done = 0
            for _ = 1, 2000 do
                weir.fiber(function() weir.sleep(0.2) done = done + 1 end)
            end
            while done < 2000 do weir.sleep(0.02) end
            return done
        ]])
    end)

    it("waits inside coroutines, pcall, iterators and metamethods", function()
        assert.are.equal("true\n1 2 3\nhello\n\n5", run [[
            local co = coroutine.wrap(function()
                for i = 1, 3 do weir.sleep(0.001) coroutine.yield(i) end
            end)
            local seen = {}
            for i in co do seen[#seen + 1] = i end
            local t = setmetatable({}, {__index = function(_, key) return weir.http.request("PEER/" .. key).body end,
                __add = function(_, n) weir.sleep(0.001) return n end})
            local ok, body = pcall(function() return t.hello end)
            return ok, table.concat(seen, " "), body, t + 5
        ]])
    end)

    describe("that needs much memory", function()
        -- Runs `count` fibers of `call` at once: how many were answered, were refused, ended otherwise; how often a fiber beside them ran;
        -- and how much the host has grown, in KiB.
        local function at_once(count, call)
            local before = weir:memory "VmHWM"
            local text = run(([[
                local counts, left, beats, odd = {ok = 0, ENOMEM = 0, other = 0}, COUNT, 0, nil
                local data = ("x"):rep(4000000)
                assert(weir.fs.write("large", data))
                data = data:sub(1, 3000000)
                for i = 1, COUNT do
                    weir.fiber(function()
                        local ok, why, code = (function() CALL end)()
                        local key = ok and "ok" or counts[code] and code or "other"
                        counts[key] = counts[key] + 1
                        odd = key == "other" and why or odd
                        left = left - 1
                    end)
                end
                while left > 0 do weir.sleep(0.002) beats = beats + 1 end
                return counts.ok, counts.ENOMEM, counts.other, beats, odd
            ]]):gsub("COUNT", count):gsub("CALL", (call:gsub("%%", "%%%%"))))
            local ok, refused, other, beats, odd = text:match("^(%d+)\n(%d+)\n(%d+)\n(%d+)\n(.*)$")
            assert.is_truthy(ok, text)
            assert.are.equal("0", other, odd)
            return tonumber(ok), tonumber(refused), tonumber(beats), weir:memory "VmHWM" - before
        end

        local calls = {
            ["weir.http.request"] = 'return weir.http.request "PEER/big/4000000"',
            ["weir.http.request with a body"] = 'return weir.http.request {url = "PEER/late/0.3", body = ("x"):rep(4000000 + i)}',
            ["weir.fs.read"] = 'return weir.fs.read "large"',
            ["weir.spawn"] = 'return weir.spawn {cmd = "head", args = {"-c", "4000000", "/dev/zero"}, max_output = 5000000}',
            ["conn:read"] = ([[
                local c <close> = assert(weir.tcp.connect("127.0.0.1:PORT", {timeout = 30}))
                c:write "GET /big/4000000 HTTP/1.1\r\nHost: a\r\n\r\n"
                while true do
                    local line, why, code = c:read "line"
                    if not line then return nil, why, code end
                    if line == "" then break end
                end
                return c:read(4000000)
            ]]),
            ["conn:write"] = ([[
                local c <close> = assert(weir.tcp.connect("127.0.0.1:PORT", {timeout = 30}))
                c:write(("POST /upload/w%d HTTP/1.1\r\nHost: a\r\nContent-Length: 12000000\r\n\r\n"):format(i))
                weir.fiber(function() weir.sleep(0.5) weir.http.request("PEER/release/w" .. i) end)
                for _ = 1, 4 do
                    local ok, why, code = c:write(data)
                    if not ok then return nil, why, code end
                end
                return true
            ]]),
        }

        for name, call in pairs(calls) do
            it(("keeps %s within the limit of the stage"):format(name), function()
                local many = (os.getenv("WEIR_PRESET") or ""):find "san" and 20 or 60 -- theirs are many times as slow
                local ok, refused, beats, grown = at_once(many, (call:gsub("PORT", tostring(peer.port))))
                assert.are.equal(many, ok + refused)
                assert.is_true(ok > 0, "none was answered") -- how many depends on how slow the peer is: all at once would be 240 MB
                assert.is_true(beats > 0, "the others did not go on: " .. beats)
                -- what the system's sockets and libcurl have is not the stage's
                assert.is_true(os.getenv("WEIR_PRESET") ~= nil or grown < 160 * 1024, ("it grew by %d KiB"):format(grown))
                assert.are.equal("hello\n\n4000000", run [[return weir.http.request("PEER/hello").body, #weir.fs.read "large"]])
                assert.is_nil(weir:stderr():find("no new calls", 1, true), weir:stderr())
            end)
        end
    end)

    describe("over TLS", function()
        local tls

        before_each(function()
            local folder = support.tempdir()
            for _, name in ipairs {"good", "other"} do
                assert(os.execute(("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=%s "
                    .. "-addext subjectAltName=%s -keyout %s.key -out %s.pem 2>/dev/null"):format(quote(folder), name,
                    name == "good" and "IP:127.0.0.1" or "DNS:other.example", name, name)))
            end
            tls = {folder = folder, port = {}}
            for _, name in ipairs {"good", "other"} do
                tls.port[name] = support.free_port()
                support.start_command(("cd %s && (sleep 0.3; echo 'ready x' >&2) & cd %s; exec openssl s_server -quiet -accept 127.0.0.1:%d -www "
                    .. "-cert %s.pem -key %s.key >/dev/null"):format(quote(folder), quote(folder), tls.port[name], name, name))
            end
            for _, name in ipairs {"good", "other"} do
                support.write(weir.folder .. "/" .. name .. ".pem", support.read(folder .. "/" .. name .. ".pem"))
            end
        end)

        it("checks who it talks to", function()
            local function get(name, options)
                return ('return weir.http.request {url = "https://127.0.0.1:%d/"%s}'):format(tls.port[name], options)
            end
            assert.are.equal("200", run(get("good", ', ca = "good.pem"') .. ".status"))
            assert.are.equal("CERT_UNTRUSTED", (failure(get("good", ""))))
            assert.are.equal("CERT_NAME_MISMATCH", (failure(get("other", ', ca = "other.pem"'))))
            assert.are.equal("200", run(get("other", ", verify = false") .. ".status"))
            assert.are.equal("BAD_CERTIFICATE_FILE", (failure(get("good", ', ca = "nothing.pem"'))))
            assert.are.equal("TLS_HANDSHAKE", (failure(('return weir.http.request "https://127.0.0.1:%d/"'):format(peer.port))))
        end)

        it("checks connections too", function()
            local function connect(name, options)
                return ('return weir.tcp.connect("127.0.0.1:%d", {tls = {%s}})'):format(tls.port[name], options)
            end
            assert.are.equal("true", run(("local c <close> = assert((function() %s end)()) return true"):format(connect("good", 'ca = "good.pem"'))))
            for code, text in pairs {CERT_UNTRUSTED = connect("good", ""), CERT_NAME_MISMATCH = connect("other", 'ca = "other.pem"')} do
                assert.are.equal(code, (failure(text)))
            end
            assert.is_truthy(run(([[
                local c <close> = assert(weir.tcp.connect("127.0.0.1:%d", {tls = {ca = "other.pem", name = "other.example"}}))
                c:write "GET / HTTP/1.0\r\n\r\n"
                return c:read "line"
            ]]):format(tls.port.other)):find("200"))
        end)
    end)
end)
