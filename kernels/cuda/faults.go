package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// refusal is a kind of data that an op must refuse: how it is worded, from the row
// and the value that the kernel reported.
type refusal struct {
	op, format string
}

// faultRecord is the device's note of refused data (see package kernel), and what
// its tags stand for.
type faultRecord struct {
	device  driver.Ptr
	host    []byte
	kinds   []refusal
	tags    map[refusal]uint32
	pending bool // a kernel that may refuse was launched since the last look
}

func newFaultRecord(api driver.API, s driver.Stream) (f faultRecord, err error) {
	f.tags = map[refusal]uint32{}
	if f.host, err = api.MemHostAlloc(kernel.FaultBytes); err != nil {
		return f, err
	}
	if f.device, err = api.MemAlloc(kernel.FaultBytes); err != nil {
		return f, err
	}
	return f, api.MemsetD8Async(f.device, 0xFF, kernel.FaultBytes, s)
}

func (f *faultRecord) close(api driver.API) (err error) {
	if f.device != 0 {
		err = api.MemFree(f.device)
	}
	if f.host != nil {
		err = errors.Join(err, api.MemFreeHost(f.host))
	}
	return err
}

// refusals returns the last two parameters of a kernel that may refuse data. format
// takes a row and a value, both int32: "row %d: id %d is …".
func (b *Backend) refusals(op, format string) (at, tag arg) {
	f := &b.faults
	f.pending = true
	r := refusal{op, format}
	t, ok := f.tags[r]
	if !ok {
		t = uint32(len(f.kinds))
		f.kinds = append(f.kinds, r)
		f.tags[r] = t
	}
	return arg{uint64(f.device), true}, arg{bits: uint64(t)}
}

// fetch enqueues the copy of the record to the host.
func (f *faultRecord) fetch(b *Backend) {
	if f.pending {
		if err := b.api.MemcpyDtoHAsync(f.host, f.device, b.stream); err != nil {
			b.fail("", err)
		}
	}
}

// take reads the record that was fetched, if the copy succeeded, and clears it.
func (f *faultRecord) take(b *Backend, ok bool) error {
	if !f.pending || !ok {
		return nil
	}
	f.pending = false
	tag := binary.LittleEndian.Uint32(f.host)
	if tag == kernel.NoFault {
		return nil
	}
	value, row := int32(binary.LittleEndian.Uint32(f.host[8:])), int32(binary.LittleEndian.Uint32(f.host[12:]))
	if err := b.api.MemsetD8Async(f.device, 0xFF, kernel.FaultBytes, b.stream); err != nil {
		b.fail("", err)
	}
	if int(tag) >= len(f.kinds) {
		return fmt.Errorf("kernels/cuda: a kernel reported fault %d, which no op knows", tag)
	}
	return fmt.Errorf(f.kinds[tag].op+": "+f.kinds[tag].format, row, value)
}
