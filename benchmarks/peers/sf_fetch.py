"""simple-salesforce: fetch and parse only, page by page.  usage: sf_fetch.py N [URL]"""

import sys
from urllib.parse import urlsplit

from simple_salesforce import Salesforce

N = int(sys.argv[1])
URL = sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:21200"
sf = Salesforce(instance_url=URL, session_id="t")
sf.base_url = URL + "/services/data/v66.0/"
sf.sf_instance = urlsplit(URL).netloc
n = 0  # the client insists on https: set after
r = sf.restful("query", params={"q": f"SELECT x FROM y LIMIT {N}"})
while True:
    n += len(r["records"])
    if r["done"]:
        break
    r = sf.restful(r["nextRecordsUrl"].split("/v66.0/")[1])
print(n)
sys.exit(n != N)
