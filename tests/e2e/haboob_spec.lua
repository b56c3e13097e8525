-- scripts/haboob as its visitors see it: the file set byte for byte, conditions and ranges, what must not leak, and
-- its ledger, which says which stages a request went through.
local ledger = require "tests.e2e.ledger"
local support = require "tests.e2e.support"
local swarm = require "tests.e2e.swarm"

local ask, get = support.ask, support.get
local SECRET <const> = "kept out of the root"

-- The site, made once; the folder beside it holds what must not be served.
local place, site, running

local function sample()
    local names = {"index.html", "dir00000/index.html", "dir00001/index.html"}
    for class = 0, 3 do
        for _, k in ipairs {0, 4, 8} do
            names[#names + 1] = ("dir0000%d/class%d_%d"):format(k % 3 > 0 and 1 or 0, class, k)
        end
    end
    return names
end

local function start(...)
    local words = {("cd %s && mkdir -p -m 700 run && exec env"):format(support.quote(place)),
        "XDG_RUNTIME_DIR=" .. support.quote(place .. "/run"), "HABOOB_ROOT=" .. support.quote(site), "PORT=0",
        support.quote(support.bin), "run", support.quote(support.root .. "/scripts/haboob"), ...}
    running = support.start_command(table.concat(words, " "))
    running.admin = place .. "/run/weir/haboob.sock"
    return running
end

-- How many events each stage has been offered, once nothing is under way.
local function offered(host)
    local counts = {}
    for name, stage in pairs(ledger.closed(host.admin).stages) do
        counts[name] = stage.ledger.offered
    end
    return counts
end

local function page(path)
    return assert(support.read(site .. "/" .. path), path)
end

describe("haboob", function()
    setup(function()
        place = support.shell("mktemp -d /tmp/weir-e2e-XXXXXX"):match("%S+")
        site = place .. "/site"
        local make = ("%s/scripts/haboob/make-files --dirs 2 %s >/dev/null"):format(support.quote(support.root), site)
        assert(os.execute(make))
        support.write(place .. "/secret.txt", SECRET)
        support.write(site .. "/.hidden", SECRET)
        support.write(site .. "/.git/config", SECRET)
        support.write(site .. "/a b.txt", "a name with a blank\n")
        support.write(site .. "/empty.txt", "")
        support.write(site .. "/edge.bin", ("\0\r\n\xff"):rep(64 * 1024 // 4 - 1) .. "abc") -- one byte below 'large'
        support.write(site .. "/large.bin", ("\0\r\n\xff"):rep(64 * 1024 // 4)) -- the first that is large
        assert(os.execute(("mkdir %s/bare"):format(site)))
    end)

    teardown(function()
        os.execute("rm -rf " .. support.quote(place))
    end)

    after_each(function()
        local status = running:stop() -- under a sanitizer it is not 0 after a leak
        support.clean()
        assert.equal(0, status)
    end)

    it("serves every byte of files of all sizes, from the disk and from the cache", function()
        local host = start()
        local client = support.connect(host.port)
        local names = sample()
        for _, extra in ipairs {"empty.txt", "edge.bin", "large.bin"} do
            names[#names + 1] = extra
        end
        for round = 1, 3 do
            for _, name in ipairs(names) do
                client:send(get("/" .. name))
                local a = client:answer()
                assert.equal(200, a.status, name)
                assert.equal(#page(name), tonumber(a.headers["content-length"]), name)
                assert.is_true(a.body == page(name), name .. " differs in round " .. round)
            end
        end
        client:close()
        local body, status = support.curl(host.url .. "/a%20b.txt")
        assert.same({"a name with a blank\n", 200}, {body, status})
        local stats = ledger.closed(host.admin)
        assert.equal(3 * #names + 1, stats.stages.web.http.answers_2xx)
    end)

    it("gives HEAD what GET gives, without the body", function()
        local host = start()
        for _, path in ipairs {"/", "/dir00001/class1_2", "/dir00001/class1_2", "/dir00000/class3_0", "/empty.txt"} do
            local whole = ask(host.port, get(path))
            local client = support.connect(host.port)
            client:send(get(path):gsub("^GET", "HEAD") .. get(path, "Connection: close"))
            local head = client:answer("HEAD")
            assert.equal(200, head.status)
            for _, name in ipairs {"content-length", "content-type", "last-modified", "accept-ranges", "etag"} do
                assert.equal(whole.headers[name], head.headers[name], path .. " " .. name)
            end
            assert.is_true(client:answer().body == whole.body)
            assert.is_true(client:is_closed())
            client:close()
        end
    end)

    -- /dir00000/class2_0 is kept in the cache, class3_0 sent by the host.
    it("answers ranges of cached and of large files", function()
        local host = start()
        for _, name in ipairs {"dir00000/class2_0", "dir00000/class3_0"} do
            local text = page(name)
            local n = #text
            local cases = {
                {"0-0", 1, 1}, {"0-99", 1, 100}, {"100-", 101, n}, {"-7", n - 6, n}, {("%d-"):format(n - 1), n, n},
                {("5-%d"):format(n + 1000), 6, n}, {("-%d"):format(n + 5), 1, n},
            }
            for _, case in ipairs(cases) do
                local a = ask(host.port, get("/" .. name, "Range: bytes=" .. case[1]))
                assert.equal(206, a.status, name .. " " .. case[1])
                assert.equal(("bytes %d-%d/%d"):format(case[2] - 1, case[3] - 1, n), a.headers["content-range"])
                assert.is_true(a.body == text:sub(case[2], case[3]), name .. " " .. case[1])
            end
            for _, range in ipairs {("%d-"):format(n), ("%d-%d"):format(n + 5, n + 6), "-0"} do
                local a = ask(host.port, get("/" .. name, "Range: bytes=" .. range))
                assert.equal(416, a.status, name .. " " .. range)
                assert.equal("bytes */" .. n, a.headers["content-range"])
            end
            for _, ignored in ipairs {"bytes=5-2", "lines=1-2", "bytes=0-1,5-6", "bytes=x"} do
                local a = ask(host.port, get("/" .. name, "Range: " .. ignored))
                assert.equal(200, a.status, name .. " " .. ignored)
                assert.equal(n, #a.body)
            end
            local fresh = ask(host.port, get("/" .. name)).headers.etag
            assert.equal(206, ask(host.port, get("/" .. name, "Range: bytes=0-1", "If-Range: " .. fresh)).status)
            assert.equal(200, ask(host.port, get("/" .. name, "Range: bytes=0-1", 'If-Range: "old"')).status)
        end
        ledger.closed(host.admin)
    end)

    it("says 304 to those who have the page, cached or large", function()
        local host = start()
        for _, name in ipairs {"index.html", "dir00001/class0_4", "dir00001/class3_8"} do
            for _ = 1, 2 do
                local a = ask(host.port, get("/" .. name))
                local tag, time = a.headers.etag, a.headers["last-modified"]
                assert.is_truthy(tag and time, name)
                for _, yes in ipairs {"If-None-Match: " .. tag, 'If-None-Match: "x", W/' .. tag, "If-None-Match: *",
                    "If-Modified-Since: " .. time, "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT"} do
                    local b = ask(host.port, get("/" .. name, yes))
                    assert.equal(304, b.status, name .. " " .. yes)
                    assert.equal(tag, b.headers.etag)
                end
                for _, no in ipairs {'If-None-Match: "x"', "If-Modified-Since: Thu, 01 Jan 1970 00:00:01 GMT",
                    "If-Modified-Since: yesterday"} do
                    local b = ask(host.port, get("/" .. name, no))
                    assert.equal(200, b.status, name .. " " .. no)
                    assert.is_true(b.body == page(name))
                end
                local both = ask(host.port, get("/" .. name, 'If-None-Match: "x"', "If-Modified-Since: " .. time))
                assert.equal(200, both.status, "a tag that differs counts more than a time")
            end
        end
    end)

    it("shows a folder's index, and the way to it", function()
        local host = start()
        for _, path in ipairs {"/", "/dir00001/"} do
            local a = ask(host.port, get(path))
            assert.equal(200, a.status)
            assert.equal("text/html; charset=utf-8", a.headers["content-type"])
            assert.is_true(a.body == page(path:sub(2) .. "index.html"))
        end
        local a = ask(host.port, get("/dir00001?x=1"))
        assert.equal(301, a.status)
        assert.equal("/dir00001/?x=1", a.headers.location)
        assert.equal(404, ask(host.port, get("/bare/")).status)
    end)

    it("has a page for what is not there, or not asked rightly", function()
        local host = start()
        for path, status in pairs {["/nothing"] = 404, ["/dir00000/class0_0/more"] = 404, ["/" .. ("x"):rep(300)] = 404,
            ["/<script>alert(1)</script>"] = 404, ["/%zz"] = 400, ["/" .. ("y/"):rep(600)] = 414} do
            local a = ask(host.port, get(path))
            assert.equal(status, a.status, path)
            assert.equal("text/html; charset=utf-8", a.headers["content-type"])
            assert.truthy(a.body:find("<h1>", 1, true), path)
            assert.falsy(a.body:find("<script", 1, true), path)
        end
        local a = ask(host.port, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert.equal(405, a.status)
        assert.equal("GET, HEAD", a.headers.allow)
        local stats = ledger.closed(host.admin)
        assert.equal(7, stats.stages.problem.ledger.handled)
    end)

    it("makes a page of what it is told, and escapes it", function()
        local host = start()
        local a = ask(host.port, get("/dynamic?name=%3Cscript%3E%22%26%27&x%3Cb%3E=%3Ci%3E", 'User-Agent: <img src="x">'))
        assert.equal(200, a.status)
        assert.equal("no-store", a.headers["cache-control"])
        assert.truthy(a.body:find("<h1>Hello, &lt;script&gt;&quot;&amp;", 1, true), a.body)
        for _, raw in ipairs {"<script", "<img", "<i>", "x<b>"} do
            assert.falsy(a.body:find(raw, 1, true), raw)
        end
        assert.truthy(ask(host.port, get("/dynamic")).body:find("Hello, stranger", 1, true))
        assert.equal(200, ask(host.port, get("/dynamic?name=%00%ff%")).status)
    end)

    it("shows the queues of every stage at /weir", function()
        local host = start()
        ask(host.port, get("/nothing"))
        local a = ask(host.port, get("/weir"))
        assert.equal(200, a.status)
        for name, stage in pairs(ledger.stats(host.admin).stages) do
            if stage.kind == "handler" then
                assert.truthy(a.body:find("<td>" .. name .. "<td>", 1, true), name)
            end
        end
        assert.truthy(a.body:find("<td>problem<td>0<td>1024<td>.-<td>1<td>0<td>1<td>1<td>"), a.body)
    end)

    it("leaks nothing from outside the root or hidden in it", function()
        local host = start()
        local up = {"..", "%2e%2e", "%2E.", ".%2e", "..%00", "..;", "%c0%ae%c0%ae", "%252e%252e", "%uff0e%uff0e", "...",
            "..%01", "..\\", "..%5c", "%2e%2e%5C"}
        local paths = {"/%00", "/index.html%00.txt", "/%00/../../secret.txt", "/.hidden", "/%2ehidden", "/.git/config",
            "/dir00000/../.hidden", "/.git%2fconfig", "//secret.txt", "///etc/passwd", "//etc/passwd", "/%2fetc%2fpasswd",
            "/%2f%2e%2e%2fsecret.txt", "\\secret.txt", "secret.txt", "../secret.txt", "etc/passwd", "/file:///etc/passwd"}
        for _, dots in ipairs(up) do
            for _, slash in ipairs {"/", "%2f", "%2F", "\\", "%5c", "//"} do
                local climb = dots .. slash
                paths[#paths + 1] = "/" .. climb .. "secret.txt"
                paths[#paths + 1] = "/dir00000/" .. climb .. climb .. "secret.txt"
                paths[#paths + 1] = "/" .. climb:rep(12) .. "etc/passwd"
            end
        end
        for _, path in ipairs(paths) do
            local origins = path:find("^/") and {"", "http://a", "HTTP://user@b:99", "https://a", "file://"} or {""}
            for _, origin in ipairs(origins) do
                local target = origin .. path
                local a = ask(host.port, get(target)) or {body = ""}
                assert.is_not_equal(200, a.status, target)
                assert.falsy(a.body:find(SECRET, 1, true), target)
                assert.falsy(a.body:find("root:", 1, true), target)
            end
        end
        assert.equal(200, ask(host.port, get("http://a/dir00000/class0_0")).status)
        local http = ledger.closed(host.admin).stages.web.http
        assert.equal(http.requests, ledger.answers(http))
        assert.equal(1, http.answers_2xx)
        assert.equal(0, http.answers_5xx)
    end)

    it("serves a page from the cache the second time, and a large file from the disk each time", function()
        local host = start("--set pools.main.threads=1")
        local before = offered(host)
        assert.equal(0, before.file)
        ask(host.port, get("/dir00000/class1_3"))
        local first = offered(host)
        assert.equal(1, first.file)
        assert.equal(2, first.cache) -- the miss, and the page that came back
        local a = ask(host.port, get("/dir00000/class1_3"))
        assert.is_true(a.body == page("dir00000/class1_3"))
        local second = offered(host)
        assert.equal(1, second.file)
        assert.equal(3, second.cache)
        for _ = 1, 3 do
            ask(host.port, get("/large.bin"))
        end
        local third = offered(host)
        assert.equal(4, third.file)
        assert.equal(6, third.cache) -- nothing came back
    end)

    it("answers every request of a mixed load, and its ledger closes", function()
        local host = start()
        local names = sample()
        local kinds = {"/dynamic?name=%d", "/weir?%d", "/nothing%d", "/../%d", "/dir00000?%d"}
        local seen, ends = swarm.run {port = host.port, connections = 32, target = function(c, n)
            if n > 60 then
                return nil
            end
            local i = c * 7 + n
            return n % 4 == 0 and kinds[i % #kinds + 1]:format(i) or "/" .. names[i % #names + 1]
        end}
        assert.same({}, ends)
        assert.equal(32 * 60, #seen)
        for _, a in ipairs(seen) do
            local name = a.target:match("^/(dir.*/.*)$") or a.target:match("^/(index.html)$")
            if name then
                assert.equal(200, a.status, name)
                assert.is_true(a.body == page(name), name)
            end
        end
        local http = ledger.closed(host.admin).stages.web.http
        assert.equal(#seen, http.requests)
        assert.equal(#seen, ledger.answers(http))

        local command = "wrk -t1 -c64 -d2s -s %s/mix.lua http://127.0.0.1:%d/ 2>&1"
        support.write(place .. "/mix.lua", [[
local paths = {"/", "/dir00000/class0_3", "/dir00001/class1_8", "/dir00000/class2_1", "/dir00001/class2_8", "/large.bin",
    "/dynamic?name=you", "/weir", "/nothing", "/.hidden", "/dir00000"}
local i = 0
function request()
    i = i + 1
    return wrk.format("GET", paths[i % #paths + 1])
end
]])
        local said = support.shell(command:format(place, host.port))
        local answered = tonumber(said:match("(%d+) requests in"))
        assert.truthy(answered and answered > 100, said)
        assert.falsy(said:find("Socket errors", 1, true), said)
        local stats = ledger.closed(host.admin)
        local now = stats.stages.web.http
        -- wrk leaves while up to 64 requests are under way.
        local more = now.requests - http.requests
        assert.is_true(more >= answered and more <= answered + 64, ("%d, wrk saw %d"):format(more, answered))
        assert.is_true(ledger.answers(now) <= now.requests and ledger.answers(now) + now.gone >= now.requests)
        assert.equal(now.requests, stats.stages.route.ledger.offered)
        local emitted = stats.stages.route.emitted
        assert.equal(stats.stages.cache.ledger.accepted, emitted.cache + stats.stages.file.emitted.fill)
        assert.equal(stats.stages.dynamic.ledger.accepted, emitted.dynamic)
        assert.equal(stats.stages.file.ledger.accepted, stats.stages.cache.emitted.miss)
    end)
end)
