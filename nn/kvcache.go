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
	h := sha256.New()
	h.Write(k[:])
	binary.Write(h, binary.LittleEndian, tokens)
	return pageKey(h.Sum(nil))
}

// kvCache hands out the pages of a paged KV cache. Pages are counted by who
// reads them; full pages stay findable by their contents until the room is
// needed.
type kvCache struct {
	tensor.PagedCache
	free  []int32
	refs  []int // sequences that use a page
	index map[pageKey]int32
	key   map[int32]pageKey       // of indexed pages
	idle  *list.List              // indexed pages that no sequence uses, oldest first
	at    map[int32]*list.Element // their places in idle
}

func newKVCache(m *Model, pages int) (*kvCache, error) {
	c := &kvCache{index: map[pageKey]int32{}, key: map[int32]pageKey{}, idle: list.New(), at: map[int32]*list.Element{}}
	c.PagedCache = tensor.PagedCache{Pages: pages, Layers: m.Config.Layers, KVHeads: m.Config.KVHeads, HeadDim: m.Config.HeadDim}
	data, err := m.dev.New(m.Compute, pages, c.PageElements())
	if err != nil {
		return nil, fmt.Errorf("KV cache of %d pages of %d positions: %w", pages, PageSize, err)
	}
	c.Data = data
	c.refs = make([]int, pages)
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
		delete(c.at, p)
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
		delete(c.at, p)
	}
	c.refs[p]++
}

// release counts one user less.
func (c *kvCache) release(p int32) {
	if c.refs[p]--; c.refs[p] > 0 {
		return
	}
	if _, indexed := c.key[p]; indexed {
		c.at[p] = c.idle.PushBack(p)
	} else {
		c.free = append(c.free, p)
	}
}

// publish makes a full page findable by its contents.
func (c *kvCache) publish(p int32, k pageKey) {
	if _, ok := c.index[k]; !ok {
		c.index[k], c.key[p] = p, k
	}
}

func (c *kvCache) forget(p int32) {
	delete(c.index, c.key[p])
	delete(c.key, p)
}

// clone copies a page, for a sequence that goes on writing in it.
func (c *kvCache) clone(p int32) (int32, bool) {
	q, ok := c.take()
	if ok {
		c.Data.Narrow(0, int(q), 1).CopyFrom(c.Data.Narrow(0, int(p), 1))
	}
	return q, ok
}

// clear forgets all contents that no sequence uses.
func (c *kvCache) clear() {
	for e := c.idle.Front(); e != nil; e = e.Next() {
		p := e.Value.(int32)
		c.forget(p)
		delete(c.at, p)
		c.free = append(c.free, p)
	}
	c.idle.Init()
	for p := range c.key {
		c.forget(p)
	}
}
