-- Error pages: {req, status}.
local weir = require "weir"
local render = require("template").compile(require "problem_html")

local M = {}

local texts = {
    [400] = {title = "Bad request", text = "That address can't be a file of this site."},
    [403] = {title = "Forbidden", text = "That file is not for everybody."},
    [404] = {title = "Not found", text = "There is nothing at this address."},
    [405] = {title = "Method not allowed", text = "This site answers GET and HEAD."},
    [414] = {title = "Address too long", text = "No address of this site is as long as that."},
    [500] = {title = "Something broke here", text = "The log of the server says what."},
}

function M.handle(event)
    local status, req = event.status, event.req
    local what = texts[status] or texts[500]
    local headers = {["content-type"] = "text/html; charset=utf-8"}
    if status == 405 then
        headers.allow = "GET, HEAD"
    end
    weir.log.debug("refused", {status = status, target = req.target})
    req:reply(status, headers, render {status = status, title = what.title, text = what.text, target = req.target})
end

return M
