return function()
    os.execute("sleep 60")
end
