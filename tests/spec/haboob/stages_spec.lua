local apps = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "apps.lua")

-- A stage of haboob with a fresh stand-in for the host: the handler's table and that `weir`.
local function stage(name, config)
    apps.use "haboob"
    local weir = apps.fake_weir()
    local M = require(name)
    if M.init then
        M.init {config = config, stage = name, worker = 1, generation = 1}
    end
    return M, weir
end

describe("route", function()
    local cases = {
        {"/", "cache", "index.html"}, {"/a/b?x=1", "cache", "a/b"}, {"/weir", "live"}, {"/dynamic?a=1", "dynamic"},
        {"/../x", "problem", nil, 400}, {"/.git", "problem", nil, 404},
    }
    for _, case in ipairs(cases) do
        it(("sends %s to %s"):format(case[1], case[2]), function()
            local route, weir = stage "route"
            local req = apps.request(case[1])
            route.handle(req)
            local sent = weir.emitted[1]
            assert.are.equal(1, #weir.emitted)
            assert.are.same({case[2], case[3], case[4]}, {sent.port, sent.event.path, sent.event.status})
            assert.are.equal(req, sent.event.req)
        end)
    end

    it("refuses other methods", function()
        local route, weir = stage "route"
        route.handle(apps.request("/", {}, "POST"))
        assert.are.same({"problem", 405}, {weir.emitted[1].port, weir.emitted[1].event.status})
    end)
end)

describe("cache", function()
    local answer

    local function page(body)
        return answer.page("a.html", body, nil)
    end

    local function cache(mebibytes)
        local M, weir = stage("cache", {mebibytes = mebibytes or 1, fresh_seconds = 10})
        answer = require "answer"
        return M, weir
    end

    it("asks for a page that it does not have", function()
        local M, weir = cache()
        local event = {req = apps.request "/a.html", path = "a.html"}
        M.handle(event)
        assert.are.same({"miss", "a.html"}, {weir.emitted[1].port, weir.emitted[1].event.path})
        assert.is_nil(event.req.answer)
    end)

    it("answers with a page that was brought, until it is stale", function()
        local M, weir = cache()
        M.handle {path = "a.html", page = page "hi"}
        local req = apps.request "/a.html"
        M.handle {req = req, path = "a.html"}
        assert.are.same({200, "hi"}, {req.answer.status, req.answer.body})
        assert.are.equal(0, #weir.emitted)
        weir.clock = weir.clock + 10
        M.handle {req = apps.request "/a.html", path = "a.html"}
        assert.are.equal("miss", weir.emitted[1].port)
    end)

    it("leaves the answer to the host when the miss is refused", function()
        local M, weir = cache()
        weir.refuse = "full"
        local req = apps.request "/a.html"
        M.handle {req = req, path = "a.html"}
        assert.is_nil(req.answer)
    end)

    it("forgets old pages when there are too many", function()
        local M, weir = cache(1)
        for i = 1, 40 do
            M.handle {path = "p" .. i, page = page(("x"):rep(50000))}
        end
        M.handle {req = apps.request "/p1", path = "p1"}
        assert.are.equal("p1", weir.emitted[1].event.path)
        local req = apps.request "/p40"
        M.handle {req = req, path = "p40"}
        assert.are.equal(200, req.answer.status)
    end)
end)

describe("file", function()
    local folder

    setup(function()
        folder = os.tmpname()
        os.remove(folder)
        assert(os.execute("mkdir -p " .. folder .. "/sub"))
        for name, size in pairs {["index.html"] = 5, ["sub/index.html"] = 7, empty = 0, large = 70000} do
            local file = assert(io.open(folder .. "/" .. name, "w"))
            file:write(("x"):rep(size))
            file:close()
        end
    end)

    teardown(function()
        os.execute("rm -r " .. folder)
    end)

    local function ask(path, target)
        local M, weir = stage("file", {root = folder, large_kibibytes = 64})
        local req = apps.request(target or "/" .. path)
        M.handle {req = req, path = path}
        return req, weir
    end

    it("answers and fills the cache", function()
        local req, weir = ask "index.html"
        assert.are.same({200, "xxxxx"}, {req.answer.status, req.answer.body})
        assert.are.same({"fill", "index.html", "xxxxx"},
            {weir.emitted[1].port, weir.emitted[1].event.path, weir.emitted[1].event.page.body})
        assert.is_nil(weir.emitted[1].event.req)
    end)

    it("says when the file was changed", function()
        os.execute("touch -d '1994-11-06 08:49:37Z' " .. folder .. "/index.html")
        local req = ask "index.html"
        assert.are.equal("Sun, 06 Nov 1994 08:49:37 GMT", req.answer.headers["last-modified"])
    end)

    it("does not open what is no file", function()
        os.execute("mkfifo " .. folder .. "/pipe")
        local _, weir = ask "pipe"
        assert.are.equal(404, weir.emitted[1].event.status)
    end)

    it("has an empty file", function()
        local req = ask "empty"
        assert.are.same({200, ""}, {req.answer.status, req.answer.body})
    end)

    it("gives a large file to the host and not to the cache", function()
        local req, weir = ask "large"
        assert.are.same({folder, "large"}, {req.answer.root, req.answer.file})
        assert.are.equal(0, #weir.emitted)
    end)

    it("sends those who ask for a folder to its page", function()
        local req = ask("sub", "/s%75b?q")
        assert.are.same({301, "/s%75b/?q"}, {req.answer.status, req.answer.headers.location})
    end)

    it("has an error page made for what is not there", function()
        for _, path in ipairs {"none", "index.html/x", ("n"):rep(300)} do
            local req, weir = ask(path)
            assert.is_nil(req.answer)
            assert.are.same({"problem", 404, req},
                {weir.emitted[1].port, weir.emitted[1].event.status, weir.emitted[1].event.req})
        end
    end)

    it("warns at the start when the root is empty, and answers 404", function()
        local M, weir = stage("file", {root = "/nowhere", large_kibibytes = 64})
        assert.are.same({"warn", "/nowhere"}, {weir.logged[1].level, weir.logged[1].fields.root})
        M.handle {req = apps.request "/", path = "index.html"}
        assert.are.equal(404, weir.emitted[1].event.status)
    end)
end)

describe("the made pages", function()
    it("greet, with what came from outside escaped", function()
        local M = stage "dynamic"
        local req = apps.request("/dynamic", {["user-agent"] = "<script>"})
        M.handle {req = req, query = "name=%3Cb%3E&x=1"}
        assert.are.equal(200, req.answer.status)
        assert.is_truthy(req.answer.body:find("<h1>Hello, &lt;b&gt;</h1>", 1, true))
        assert.is_truthy(req.answer.body:find("&lt;script&gt;", 1, true))
        assert.is_nil(req.answer.body:find("<script>", 1, true))
        assert.is_truthy(req.answer.body:find("Sun, 06 Nov 1994", 1, true))
    end)

    it("show each stage's queue", function()
        local M = stage("live", {stages = {"route", "cache"}})
        local req = apps.request "/weir"
        M.handle {req = req}
        local body = req.answer.body
        assert.is_truthy(body:find("<td>route<td>3<td>12<td><meter max=\"100\" value=\"25\"></meter>\n<td>10<td>1<td>9", 1, true))
        assert.is_truthy(body:find("<td>cache", 1, true))
    end)

    it("do not start with a stage that there is not", function()
        apps.use "haboob"
        local weir = apps.fake_weir()
        weir.queue = function(name) error("there is no stage '" .. name .. "'") end
        assert.has_error(function() require("live").init {config = {stages = {"rote"}}} end)
    end)

    it("say what went wrong", function()
        local M = stage "problem"
        for status, text in pairs {[404] = "404 Not found", [405] = "405 Method not allowed", [400] = "400 Bad request"} do
            local req = apps.request("/<x>")
            M.handle {req = req, status = status}
            assert.are.equal(status, req.answer.status)
            assert.is_truthy(req.answer.body:find(text, 1, true))
            assert.is_nil(req.answer.body:find("<x>", 1, true))
            assert.are.equal(status == 405 and "GET, HEAD" or nil, req.answer.headers.allow)
        end
    end)
end)
