-- Run by `weir test scripts/hello`.
local t = require "weir.test"

describe("hello", function()
    it("greets the path", function()
        local hello = t.stage("hello.lua", {greeting = "good day"})
        local r = hello:handle(t.request "/you")
        assert.are.equal(200, r.answer.status)
        assert.are.equal("good day /you\n", r.answer.body)
        assert.are.equal("text/plain; charset=utf-8", r.answer.headers["content-type"])
    end)

    it("answers as an application", function()
        local app = t.app()
        assert.are.equal("hello /all\n", app:request("web", t.request "/all").answer.body)
        assert.are.equal(1, app:ledger("hello").handled)
    end)

    it("refuses when its queue is full, and handles what it accepted", function()
        local app = t.app()
        app:hold("hello")
        local results = {}
        for i = 1, 257 do
            results[i] = app:offer("web", t.request("/" .. i))
        end
        assert.are.equal(503, results[257]:finish().answer.status)
        app:release("hello")
        assert.are.equal("hello /256\n", results[256]:finish().answer.body)
        assert.are.equal(256, app:ledger("hello").handled)
        assert.are.same({full = 1}, app:ledger("hello").reasons)
    end)
end)
