from __future__ import annotations
from tests.unit.api import play

def test_x(client, store):
    for path in ("/v1/chains","/v1/pairs","/v1/keys","/healthz","/readyz","/metrics","/openapi.json"):
        r=client.get(path); print(path, r.status_code, r.text[:600])
    q=play.ask(client, gasless=True); print(q)
    r=client.post("/v1/swaps",json=play.order(q),headers=play.AUTH); print(r.status_code, r.text, r.headers)
    s=r.json()
    print(play.claim_both(store, s["id"]).state)
    r=client.get("/v1/swaps/"+s["id"]); print(r.text)
    r=client.get("/v1/swaps/"+s["id"]+"/events"); print(r.text)
    r=client.get("/v1/swaps",headers=play.AUTH); print(r.status_code)
    r=client.post("/v1/quotes",json={"from":1}); print(r.text)
    r=client.post("/v1/quotes",content="{"); print(r.text)
    r=client.put("/v1/quotes",json={}); print(r.text, r.headers)
    r=client.get("/v1/nope"); print(r.text)
    assert 0
