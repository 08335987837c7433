import jax, jax.numpy as jnp, time, itertools
from mdm_jax.networks import depthwise as d
for h,w,k,s in itertools.product((4,5,7,9),(6,7),(3,5),(1,2)):
    x=jax.random.normal(jax.random.key(0),(2,h,w,3)); ker=jax.random.normal(jax.random.key(1),(k,k,3))
    y1,v1=jax.vjp(lambda a,b:d.convolve(a,b,s),x,ker); y2,v2=jax.vjp(lambda a,b:d.grouped(a,b,s),x,ker)
    g=jax.random.normal(jax.random.key(2),y1.shape)
    for a,b in zip((y1,*v1(g)),(y2,*v2(g))):
        assert a.shape==b.shape; e=float(jnp.abs(a-b).max()); assert e<2e-5,(h,w,k,s,e)
print('ok')
def tm(f,*a,n=5):
    jax.block_until_ready(f(*a)); ts=[]
    for _ in range(n):
        t=time.process_time(); jax.block_until_ready(f(*a)); ts.append(time.process_time()-t)
    return min(ts)*1e3
B=8
for h,w,c,k,s in [(64,208,32,3,1),(64,208,96,3,2),(32,104,144,5,2),(16,52,240,5,1),(8,26,672,5,1),(4,13,1152,5,1)]:
    x=jax.random.normal(jax.random.key(0),(B,h,w,c)); ker=jax.random.normal(jax.random.key(1),(k,k,c))/k
    act=lambda x:jnp.clip(x*1.3+.2,0,6)
    f=lambda x,kk:act(d.convolve(act(x),kk,s))
    t=time.process_time(); fc=jax.jit(f).lower(x,ker).compile(); ct=time.process_time()-t
    y=fc(x,ker)
    gf=jax.jit(lambda x,kk,g:jax.vjp(f,x,kk)[1](g)); t=time.process_time(); gc=gf.lower(x,ker,y).compile(); cb=time.process_time()-t
    print((h,w,c,k,s),f'fwd {tm(fc,x,ker):.2f} fwd+bwd {tm(gc,x,ker,y):.2f} ms compile {ct:.2f} {cb:.2f}',flush=True)
