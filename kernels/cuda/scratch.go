package cuda

// scratch is memory of one op: what is enqueued after the op may use it anew.
type scratch struct{ m *mem }

// borrow takes memory for the launches of an op, until giveBack.
func (b *Backend) borrow(op string, bytes int64) (scratch, bool) {
	defer b.enter()()
	m, err := b.arena.alloc(bytes)
	if err != nil {
		b.fail(op, err)
		return scratch{}, false
	}
	return scratch{m}, true
}

func (b *Backend) giveBack(s scratch) {
	defer b.enter()()
	if err := b.arena.release(s.m); err != nil {
		b.fail("", err)
	}
}

// at is the address so many bytes in, 0 where nothing was borrowed.
func (s scratch) at(offset int64) arg {
	if s.m == nil {
		return arg{wide: true}
	}
	return arg{uint64(s.m.ptr) + uint64(offset), true}
}
