local apps = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "apps.lua")
apps.use "haboob"
local template = require "template"

local function render(text, fields)
    return template.compile(text)(fields)
end

describe("a template", function()
    it("fills holes and escapes what stands in them", function()
        assert.are.equal("<p>a&lt;b&gt; &amp; &quot;c&#39;</p>", render("<p>{{x}}</p>", {x = "a<b> & \"c'"}))
        assert.are.equal("7 0.5 true", render("{{a}} {{ b }} {{c}}", {a = 7, b = 0.5, c = true}))
        assert.are.equal("[]", render("[{{nothing}}]", {}))
    end)

    it("leaves text as it is with &", function()
        assert.are.equal("<b>", render("{{&x}}", {x = "<b>"}))
    end)

    it("repeats a section for each item, with outer fields in reach", function()
        local text = "{{#rows}}<li>{{name}} of {{site}}{{/rows}}"
        assert.are.equal("<li>a of s<li>b of s", render(text, {site = "s", rows = {{name = "a"}, {name = "b"}}}))
        assert.are.equal("123", render("{{#n}}{{.}}{{/n}}", {n = {1, 2, 3}}))
    end)

    it("shows a section once for a true value and not for false, nil and empty lists", function()
        for _, absent in ipairs {false, {}} do
            assert.are.equal("no", render("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {x = absent}))
        end
        assert.are.equal("no", render("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {}))
        assert.are.equal("yes t", render("{{#x}}yes {{t}}{{/x}}{{^x}}no{{/x}}", {x = true, t = "t"}))
        assert.are.equal("in", render("{{#x}}{{y}}{{/x}}", {x = {y = "in"}, y = "out"}))
    end)

    it("hides an outer field behind an inner one that is false", function()
        assert.are.equal("", render("{{#o}}{{#f}}x{{/f}}{{/o}}", {f = true, o = {f = false}}))
    end)

    it("takes what looks like a hole but is none as text", function()
        assert.are.equal("{ {{ }} {{}} {{a b}}", render("{ {{ }} {{}} {{a b}}", {a = 1}))
    end)

    it("refuses sections that do not fit together", function()
        assert.has_error(function() template.compile("{{#a}}x") end, "template: section 'a' is not closed")
        assert.has_error(function() template.compile("x{{/a}}") end, "template: {{/a}} closes nothing")
        assert.has_error(function() template.compile("{{#a}}{{/b}}") end, "template: {{/b}} closes nothing (open: a)")
    end)
end)
