import json, re, random, hashlib, subprocess
print(len(json.dumps([random.random() for _ in range(200000)])))
print(subprocess.run(["/bin/echo", "hello"], capture_output=True).stdout)
