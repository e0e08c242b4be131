package ptx

import "fmt"

// TensorMap is the address of a 128-byte tensor map, which the host encodes.
type TensorMap struct{ GenericPtr }

// ParamTensorMap declares a tensor map as a parameter of the kernel. (sm_90)
func (k *Builder) ParamTensorMap(name string) TensorMap {
	k.param(name, B8, []ParamOpt{func(v *Var) { v.Align, v.Dims = 64, []int{128} }})
	a, d := New[RegU64](k), New[RegU64](k)
	k.emit("mov.u64", a.op(), Sym{Name: name})
	k.emit("cvta.param.u64", d.op(), a.op())
	return TensorMap{d.AsGeneric()}
}

func (m TensorMap) coords(k *Builder, op string, coords []InI32) Operand {
	if len(coords) < 1 || len(coords) > 5 {
		k.fail(op, "%d coordinates, expected 1 to 5", len(coords))
	}
	mem := Mem{Base: m.r.op()}
	for i, c := range coords {
		mem.Coords = append(mem.Coords, k.fit(op, i+1, S32, c))
	}
	return mem
}

// TmaLoad copies the box of a tensor at the given coordinates, the innermost first, to
// dst, and reports its bytes to bar. One thread issues it. Elements outside of the
// tensor are filled, and count as bytes. dst is a multiple of 128 bytes, of the
// swizzle's Align if swizzled. (PTX ISA, "cp.async.bulk.tensor"; sm_90)
func (k *Builder) TmaLoad(dst SharedPtr, m TensorMap, bar SharedPtr, coords ...InI32) {
	op := fmt.Sprintf("cp.async.bulk.tensor.%dd.shared::cluster.global.mbarrier::complete_tx::bytes", len(coords))
	k.emit(op, dst.mem(), m.coords(k, op, coords), bar.mem())
}

// TmaLoadMulticast is TmaLoad into each block of the cluster whose bit is in mask: at
// dst's offset, reporting to the barrier at bar's offset, in each.
func (k *Builder) TmaLoadMulticast(dst SharedPtr, m TensorMap, bar SharedPtr, mask InB16, coords ...InI32) {
	op := fmt.Sprintf("cp.async.bulk.tensor.%dd.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster", len(coords))
	k.emit(op, dst.mem(), m.coords(k, op, coords), bar.mem(), k.fit(op, 3, B16, mask))
}

// TmaStore copies a box from shared memory to a tensor, leaving out what lies outside.
// Writes to src must be ordered before by FenceProxyAsync. See BulkCommitGroup.
func (k *Builder) TmaStore(m TensorMap, src SharedPtr, coords ...InI32) {
	op := fmt.Sprintf("cp.async.bulk.tensor.%dd.global.shared::cta.bulk_group", len(coords))
	k.emit(op, m.coords(k, op, coords), src.mem())
}

// PrefetchTensorMap asks for a tensor map ahead of its use.
func (k *Builder) PrefetchTensorMap(m TensorMap) { k.emit("prefetch.tensormap", m.mem()) }

// CpAsyncBulk copies bytes, a multiple of 16, from global to shared memory, both
// multiples of 16, and reports them to bar. (PTX ISA, "cp.async.bulk"; sm_90)
func (k *Builder) CpAsyncBulk(dst SharedPtr, src GlobalPtr, bytes InI32, bar SharedPtr) {
	const op = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes"
	k.emit(op, dst.mem(), src.mem(), k.fit(op, 2, U32, bytes), bar.mem())
}

// CpAsyncBulkStore copies bytes, a multiple of 16, from shared to global memory. See
// BulkCommitGroup.
func (k *Builder) CpAsyncBulkStore(dst GlobalPtr, src SharedPtr, bytes InI32) {
	const op = "cp.async.bulk.global.shared::cta.bulk_group"
	k.emit(op, dst.mem(), src.mem(), k.fit(op, 2, U32, bytes))
}

// BulkCommitGroup makes a group of the thread's stores by TmaStore and CpAsyncBulkStore
// since the last.
func (k *Builder) BulkCommitGroup() { k.emit("cp.async.bulk.commit_group") }

// BulkWaitGroup waits until at most n of the thread's groups are pending, the others
// done and visible to it.
func (k *Builder) BulkWaitGroup(n int) { k.emit("cp.async.bulk.wait_group", I(n).op()) }

// BulkWaitGroupRead waits until at most n groups still read shared memory.
func (k *Builder) BulkWaitGroupRead(n int) { k.emit("cp.async.bulk.wait_group.read", I(n).op()) }

// ClusterArrive and ClusterWait are the two halves of ClusterSync.
func (k *Builder) ClusterArrive() { k.emit("barrier.cluster.arrive.release.aligned") }

// ClusterWait waits for all threads of the cluster to arrive.
func (k *Builder) ClusterWait() { k.emit("barrier.cluster.wait.acquire.aligned") }

// ClusterSync makes all threads of the cluster wait for each other, and orders their
// memory accesses. (PTX ISA, "barrier.cluster"; sm_90)
func (k *Builder) ClusterSync() {
	k.ClusterArrive()
	k.ClusterWait()
}

// MapaShared is the address of the same place in the shared memory of the block of this
// rank in the cluster. (PTX ISA, "mapa"; sm_90)
func (k *Builder) MapaShared(a SharedPtr, rank InI32) ClusterPtr {
	d := New[RegU32](k)
	k.put("mapa.shared::cluster.u32", U32, d, a.Value(), rank)
	return d.AsCluster()
}

// GridDependencyWait waits for the kernels this one depends on to finish, if it was
// launched early; GridDependencyLaunch lets those that depend on it start. (PTX ISA,
// "griddepcontrol"; sm_90)
func (k *Builder) GridDependencyWait() { k.emit("griddepcontrol.wait") }

// GridDependencyLaunch lets dependent kernels start.
func (k *Builder) GridDependencyLaunch() { k.emit("griddepcontrol.launch_dependents") }
