-- scripts/gateway in front of peers with good and bad manners.
-- luacheck: no max line length
local support = require "tests.e2e.support"

local quote = support.quote

local yaml = [[
weir: 1
pools: {main: {threads: %d}}
shared: {gateway: {bytes: 1MiB}}
stages:
  web: {source: http, listen: "127.0.0.1:0", body: stream, max_body: 64MiB, deadline: 20s, to: proxy}
  proxy:
    handler: proxy.lua
    concurrency: 4096
    limits: {memory: 128MiB, cpu: 20s}
    config:
      cache_mebibytes: 1
      routes:
        - {path: /, upstreams: ["%s", "%s"], timeout: 1.5, connect_timeout: 1, cache: true}
        - {path: /one/, upstreams: ["%s"], strip: true, timeout: 1}
        - {path: /large/, upstreams: ["%s"], strip: true, timeout: 20}
        - {path: /one/more/, upstreams: ["%s"]}
        - {path: /api, upstreams: ["%s"], strip: true}
        - {path: /gone/, upstreams: ["http://127.0.0.1:1"], strip: true}
        - {path: /half/, upstreams: ["http://127.0.0.1:1", "%s"], strip: true}
]]

local one, two, gateway

local function get(path, arguments)
    return support.curl(("%s %s%s"):format(arguments or "", gateway.url, path))
end

local function peer(name)
    return support.start_command(("cd %s && exec lua5.4 tests/e2e/peer.lua 0 %s"):format(quote(support.root), name))
end

local function count(server, manner)
    return tonumber((support.curl(server.url .. "/count/" .. manner)))
end

describe("the gateway", function()
    before_each(function()
        one, two = peer "one", peer "two"
        local files = {["weir.yaml"] = yaml:format(1, one.url, two.url, one.url, one.url, two.url, two.url, two.url)}
        for _, name in ipairs {"proxy", "budget", "cache", "headers", "upstreams"} do
            files[name .. ".lua"] = support.read(support.root .. "/scripts/gateway/" .. name .. ".lua")
        end
        gateway = support.start(files)
    end)

    after_each(function()
        local status = gateway:stop()
        local said = gateway:stderr()
        support.clean()
        assert.are.equal(0, status, said)
        assert.is_nil(said:find(" error ", 1, true), said)
        assert.is_nil(said:find("Sanitizer", 1, true), said)
    end)

    it("routes by the longest path and takes turns", function()
        local seen = {}
        for _ = 1, 4 do
            local body = get "/where?x=1"
            seen[body] = (seen[body] or 0) + 1
        end
        assert.are.same({["one /where?x=1\n"] = 2, ["two /where?x=1\n"] = 2}, seen)
        assert.are.equal("one /a%20b?c=%2f\n", (get "/one/a%20b?c=%2f"))
        assert.are.equal("two /one/more/x\n", (get "/one/more/x"))
        assert.are.equal("one /../x\n", (get("/one/../x", "--path-as-is")))
    end)

    it("routes by whole segments of the path", function()
        assert.are.equal("two /where\n", (get "/api/where"))
        assert.are.equal("two /\n", (get "/api"))
        assert.are.equal("two /?x=/api\n", (get "/api?x=/api"))
        for _, path in ipairs {"/apikeys", "/%61pi/where", "/api%2fwhere"} do -- those of `/`
            assert.is_truthy((get(path)):find(" " .. path .. "\n", 1, true), (get(path)))
        end
    end)

    it("passes methods, bodies and headers on, those of one hop not", function()
        local lines = get("/one/headers", "-X PATCH -d body -H 'X-Mine: 1' -H 'Connection: X-Secret, keep-alive' -H 'X-Secret: 1' "
            .. "-H 'Keep-Alive: 5' -H 'TE: trailers' -H 'X-Forwarded-For: 10.0.0.1' -H 'Proxy-Authorization: x'")
        assert.is_truthy(lines:find("PATCH /headers\n", 1, true), lines)
        assert.is_truthy(lines:find("x-mine: 1\n", 1, true), lines)
        assert.is_truthy(lines:find("x-forwarded-for: 10.0.0.1, 127.0.0.1\n", 1, true), lines)
        assert.is_truthy(lines:find("x-forwarded-proto: http\n", 1, true), lines)
        assert.is_truthy(lines:find("x-forwarded-host: 127.0.0.1:" .. gateway.port .. "\n", 1, true), lines)
        assert.is_truthy(lines:find("content-length: 4\n", 1, true), lines)
        for _, name in ipairs {"x-secret", "keep-alive", "te:", "proxy-authorization"} do
            assert.is_nil(lines:find("\n" .. name, 1, true), lines)
        end
        local answer = support.ask(gateway.port, support.get "/one/hop")
        assert.are.equal("hop\n", answer.body)
        assert.is_nil(answer.headers["x-private"])
        assert.is_nil(answer.headers["keep-alive"])
        assert.is_nil(answer.headers["proxy-authenticate"])
    end)

    it("streams large bodies both ways in little memory", function()
        support.write(gateway.folder .. "/large", ("0123456789abcdef"):rep(2 << 20)) -- 32 MiB
        local before = gateway:memory "VmRSS"
        support.curl(one.url .. "/release/x")
        assert.are.equal("33554432\n", (get("/large/upload/x", ("--data-binary @%s/large"):format(quote(gateway.folder)))))
        local body = get("/large/big/30000000")
        assert.are.equal(30000000, #body)
        assert.is_true(os.getenv("WEIR_PRESET") ~= nil or gateway:memory "VmHWM" - before < 16384, "it grew")
    end)

    it("says why there is no answer", function()
        for path, status in pairs {["/one/never"] = 504, ["/gone/x"] = 502, ["/one/reset"] = 502, ["/one/garbage"] = 502,
            ["/one/nothing"] = 502, ["/one/status/503"] = 503, ["/one/status/404"] = 404} do
            local body, got = get(path)
            assert.are.equal(status, got, path .. ": " .. body)
            get "/one/fine" -- else three failures would leave it out
        end
    end)

    it("cuts a long answer that broke off", function()
        local client = support.connect(gateway.port)
        client:send(support.get "/one/big/100000000")
        client:take(1000000)
        one:signal "KILL"
        local rest = 0
        repeat
            local text = client:more()
            rest = rest + #(text or "")
        until not text
        assert.is_true(rest < 90000000)
        client:close()
    end)

    it("tries elsewhere what is safe, and leaves a server out that fails", function()
        for i = 1, 12 do
            local body, status = get("/half/x" .. i)
            assert.are.equal(200, status, body)
        end
        assert.is_truthy(gateway:stderr():find("an upstream is left out", 1, true))
        assert.are.equal("two /p\n", (get("/half/p", "-d body"))) -- no connection: nothing of it was sent
        local _, status = get("/flaky/a/1", "-d body") -- it was seen: the client decides
        assert.are.equal(503, status)
        local body
        body, status = get "/flaky/b/0"
        assert.are.equal(200, status, body)
    end)

    it("has a budget for that", function()
        for _ = 1, 60 do -- both servers say 503: at first each request is tried twice
            local _, status = get "/status/503"
            assert.are.equal(503, status)
            for _ = 1, 2 do -- both are fine again: else they would be left out, and not be asked at all
                _, status = get "/fine"
                assert.are.equal(200, status)
            end
        end
        local tries = count(one, "status") + count(two, "status")
        assert.is_true(tries > 60 + 10 and tries <= 60 + 10 + 18, "tries: " .. tries) -- 10 are saved up, 180 requests earn 18
    end)

    it("answers from memory what may be kept", function()
        assert.are.equal("answer 1\n", (get "/one/cached")) -- that route does not
        assert.are.equal("answer 2\n", (get "/one/cached"))
        local first = get "/cached"
        for _ = 1, 4 do
            assert.are.equal(first, (get "/cached"))
        end
        local answer = support.ask(gateway.port, support.get("/cached", "Cookie: a=1"))
        assert.are_not.equal(first, answer.body)
        answer = support.ask(gateway.port, ("GET /cached HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"):format(gateway.port))
        assert.are.equal("hit", answer.headers["x-cache"])
        assert.are.equal("text/plain", answer.headers["content-type"])
        assert.are.equal("0", answer.headers.age)
        assert.are.equal(first, answer.body)
    end)

    it("keeps the cache within its bound", function()
        package.loaded.cache = nil
        local cache = dofile(support.root .. "/scripts/gateway/cache.lua")
        local c = cache.new(100000)
        for i = 1, 1000 do
            c:put("key" .. i, {status = 200, headers = {a = "b"}, body = ("x"):rep(1000)}, 0, 10)
            assert.is_true(c.bytes <= 100000)
            assert.is_truthy(c:get("key1", 0) or i > 60, "the one used last was dropped")
        end
        assert.is_truthy(c:get("key1000", 9))
        assert.is_nil(c:get("key1000", 10))
        assert.is_nil(c:get("key500", 0))
        assert.is_false(c:put("large", {status = 200, headers = {}, body = ("x"):rep(20000)}, 0, 10))
    end)
end)
