return function(req)
    req:reply(200, {["content-type"] = "text/plain"}, "hello " .. req.path .. "\n")
end
