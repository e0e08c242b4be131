package nn

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/tensor"
)

// PageSize is the number of positions in a page of the KV cache.
const PageSize = kernels.PageSize

// pageKey identifies the contents of a page: weights version, adapter and every
// token up to the page's end, hashed in a chain.
type pageKey [sha256.Size]byte

// extend returns the key of a prefix that is longer by tokens.
func (k pageKey) extend(tokens []int32) pageKey {
	var buf [sha256.Size + 4*PageSize]byte
	for len(tokens) > 0 {
		n := min(len(tokens), PageSize)
		data := append(buf[:0], k[:]...)
		for _, t := range tokens[:n] {
			data = binary.LittleEndian.AppendUint32(data, uint32(t))
		}
		k = sha256.Sum256(data)
		tokens = tokens[n:]
	}
	return k
}

// kvCache hands out the pages of a paged KV cache. Pages are counted by who
// reads them; full pages stay findable by their contents until the room is
// needed.
type kvCache struct {
	tensor.PagedCache
	free  []int32
	refs  []int // sequences that use a page
	index map[pageKey]int32
	named []bool // pages in index
	key   []pageKey
	idle  *list.List      // named pages that no sequence uses, oldest first
	at    []*list.Element // their places in idle, nil: in use
}

func newKVCache(m *Model, pages int) (*kvCache, error) {
	c := &kvCache{
		refs: make([]int, pages), index: make(map[pageKey]int32, pages), named: make([]bool, pages), key: make([]pageKey, pages),
		idle: list.New(), at: make([]*list.Element, pages),
	}
	c.PagedCache = tensor.PagedCache{Pages: pages, Layers: m.Config.Layers, KVHeads: m.Config.KVHeads, HeadDim: m.Config.HeadDim}
	data, err := m.dev.New(m.Compute, pages, c.PageElements())
	if err != nil {
		return nil, fmt.Errorf("KV cache of %d pages of %d positions: %w", pages, PageSize, err)
	}
	c.Data = data
	for p := pages - 1; p >= 0; p-- {
		c.free = append(c.free, int32(p))
	}
	return c, nil
}

// take returns an unused page, giving up the oldest idle one when none is free.
func (c *kvCache) take() (int32, bool) {
	if n := len(c.free); n > 0 {
		p := c.free[n-1]
		c.free = c.free[:n-1]
		c.refs[p] = 1
		return p, true
	}
	if oldest := c.idle.Front(); oldest != nil {
		p := oldest.Value.(int32)
		c.idle.Remove(oldest)
		c.at[p] = nil
		c.forget(p)
		c.refs[p] = 1
		return p, true
	}
	return 0, false
}

// available returns how many pages take could hand out.
func (c *kvCache) available() int { return len(c.free) + c.idle.Len() }

// share counts one more user of a page.
func (c *kvCache) share(p int32) {
	if e := c.at[p]; e != nil {
		c.idle.Remove(e)
		c.at[p] = nil
	}
	c.refs[p]++
}

// release counts one user less.
func (c *kvCache) release(p int32) {
	if c.refs[p]--; c.refs[p] > 0 {
		return
	}
	if c.named[p] {
		c.at[p] = c.idle.PushBack(p)
	} else {
		c.free = append(c.free, p)
	}
}

// publish makes a full page findable by its contents.
func (c *kvCache) publish(p int32, k pageKey) {
	if _, ok := c.index[k]; !ok {
		c.index[k], c.key[p], c.named[p] = p, k, true
	}
}

func (c *kvCache) forget(p int32) {
	delete(c.index, c.key[p])
	c.named[p] = false
}

// clone copies a page, for a sequence that goes on writing in it.
func (c *kvCache) clone(p int32) (int32, bool) {
	q, ok := c.take()
	if ok {
		c.Data.Narrow(0, int(q), 1).CopyFrom(c.Data.Narrow(0, int(p), 1))
	}
	return q, ok
}

// clear forgets all contents; no sequence uses a page.
func (c *kvCache) clear() {
	for e := c.idle.Front(); e != nil; e = e.Next() {
		p := e.Value.(int32)
		c.at[p] = nil
		c.free = append(c.free, p)
	}
	c.idle.Init()
	clear(c.index)
	clear(c.named)
}
