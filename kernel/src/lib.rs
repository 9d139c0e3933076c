//! The data path of streamer in machine code: bytes of a file in, record batches by partition out; and batches that are
//! read back in, what is compared of their records out.
//!
//! Optional to have: `streamer/core/blocks.py`, `streamer/kafka/batches.py` and `streamer/kafka/decoding.py` do the
//! same, and every byte must be the same. Whatever is not plainly good is judged by Python, so that there is one place
//! that knows what is wrong with a line or a batch.

pub mod batch;
pub mod checksum;
pub mod compare;
pub mod gather;
pub mod headers;
pub mod json;
pub mod lines;
pub mod moments;
pub mod partitioner;
pub mod read_back;

use std::ffi::{c_int, c_void};

use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

use crate::lines::Line;

/// Gathers the lines of one file into batches; see `streamer_kernel.pyi`.
#[pyclass]
struct Gatherer {
    inner: gather::Gatherer,
    judge: Py<PyAny>,
    news: Option<Py<PyAny>>,
}

#[pymethods]
impl Gatherer {
    #[new]
    #[pyo3(signature = (
        *, offset, lines, partitions, headers, max_line_bytes, record_room, batch_bytes, judge, share=None, news=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "all by name")]
    fn new(
        offset: u64,
        lines: u64,
        partitions: usize,
        headers: Vec<(String, Vec<u8>)>,
        max_line_bytes: usize,
        record_room: usize,
        batch_bytes: usize,
        judge: Py<PyAny>,
        share: Option<(usize, usize)>,
        news: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        if partitions == 0 {
            return Err(PyValueError::new_err("a topic has at least one partition"));
        }
        if share.is_some() != news.is_some() {
            return Err(PyValueError::new_err("a share of the partitions, and who compares, come together"));
        }
        let limits = gather::Limits { line_bytes: max_line_bytes, record_room, batch_bytes };
        let headers = headers::Headers::new(&headers);
        let share = share.map(|(first, end)| first..end);
        Ok(Self { inner: gather::Gatherer::new((offset, lines), partitions, headers, limits, share), judge, news })
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.inner.position().0
    }

    #[getter]
    fn lines(&self) -> u64 {
        self.inner.position().1
    }

    fn feed(&mut self, py: Python<'_>, chunk: &[u8]) -> PyResult<()> {
        self.inner.feed(chunk, &mut Asked { py, judge: &self.judge, news: self.news.as_ref() })
    }

    fn finish(&mut self, py: Python<'_>) -> PyResult<()> {
        self.inner.finish(&mut Asked { py, judge: &self.judge, news: self.news.as_ref() })
    }

    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<(Bound<'py, PyList>, u64, u64, u64)> {
        let taken = self.inner.take();
        let partitions = PyList::empty(py);
        for (number, partition) in taken.partitions.into_iter().enumerate() {
            if partition.records > 0 {
                let batches: Vec<Batch> =
                    partition.batches.into_iter().map(|inner| Batch { inner, exports: 0 }).collect();
                partitions.append((number, partition.records, partition.digest, batches))?;
            }
        }
        Ok((partitions, taken.blank, taken.unchanged, taken.elsewhere))
    }
}

/// Python's callbacks.
struct Asked<'a> {
    py: Python<'a>,
    judge: &'a Py<PyAny>,
    news: Option<&'a Py<PyAny>>,
}

impl gather::Judges for Asked<'_> {
    type Error = PyErr;

    fn line(&mut self, line: &Line) -> PyResult<Option<(Vec<u8>, i64)>> {
        let told = (PyBytes::new(self.py, line.bytes), line.length, line.number, line.offset);
        self.judge.call1(self.py, told)?.extract(self.py)
    }

    fn news(&mut self, partition: usize, facts: &compare::Facts) -> PyResult<Vec<u8>> {
        let Some(news) = self.news else { return Err(PyValueError::new_err("nobody compares")) };
        let (keys, checks, values, updated) = columns_of(self.py, facts);
        let answer: PyBackedBytes =
            news.call1(self.py, (partition, keys, checks, values, updated))?.extract(self.py)?;
        if answer.len() != facts.keys.len() {
            return Err(PyValueError::new_err("an answer for each line is wanted"));
        }
        Ok(answer.to_vec())
    }
}

type Column<'py> = Bound<'py, PyBytes>;

/// Each column in the machine's own order of bytes.
fn columns_of<'py>(py: Python<'py>, facts: &compare::Facts) -> (Column<'py>, Column<'py>, Column<'py>, Column<'py>) {
    (
        PyBytes::new(py, &bytes_of(&facts.keys, |number| number.to_ne_bytes())),
        PyBytes::new(py, &bytes_of(&facts.checks, |number| number.to_ne_bytes())),
        PyBytes::new(py, &bytes_of(&facts.values, |number| number.to_ne_bytes())),
        PyBytes::new(py, &bytes_of(&facts.updated, |number| number.to_ne_bytes())),
    )
}

fn bytes_of<T: Copy, const N: usize>(column: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    column.iter().flat_map(|&number| bytes(number)).collect()
}

/// Reads batches of one partition back; see `streamer_kernel.pyi`.
#[pyclass]
struct ReadBack {
    inner: read_back::ReadBack,
    updated: Py<PyAny>,
}

#[pymethods]
impl ReadBack {
    #[new]
    #[pyo3(signature = (*, source, or_none, gives_way, updated))]
    fn new(source: Vec<u8>, or_none: bool, gives_way: bool, updated: Py<PyAny>) -> Self {
        let source = read_back::Source { header: source, or_none, gives_way };
        Self { inner: read_back::ReadBack::new(source), updated }
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn add(&mut self, py: Python<'_>, batch: &[u8], records: &[u8], from_offset: i64) -> PyResult<bool> {
        let updated = &self.updated;
        let updated_of = |value: &[u8]| updated.call1(py, (PyBytes::new(py, value),))?.extract(py);
        self.inner.add(batch, records, from_offset, updated_of)
    }

    #[expect(clippy::type_complexity, reason = "as many columns as there are")]
    fn take<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<(
        Bound<'py, PyList>,
        (Column<'py>, Column<'py>, Column<'py>, Column<'py>),
        Column<'py>,
        Column<'py>,
        u64,
    )> {
        let taken = self.inner.take();
        let keys = PyList::new(py, taken.keys().map(|key| PyBytes::new(py, key)))?;
        let timestamps = PyBytes::new(py, &bytes_of(&taken.timestamps, |number| number.to_ne_bytes()));
        let tombstones = PyBytes::new(py, &taken.tombstones);
        Ok((keys, columns_of(py, &taken.facts), timestamps, tombstones, taken.foreign))
    }
}

/// A batch of one partition, readable as a buffer; see `streamer_kernel.pyi`.
#[pyclass]
struct Batch {
    inner: batch::Batch,
    /// How many buffers are held on it: while there are any, its memory must stay where it is.
    exports: usize,
}

#[pymethods]
impl Batch {
    #[getter]
    fn records(&self) -> u32 {
        self.inner.records()
    }

    fn __len__(&self) -> usize {
        self.inner.bytes().len()
    }

    fn replace_records(&mut self, records: &[u8]) -> PyResult<()> {
        self.ensure_unused()?;
        self.inner.replace_records(records);
        Ok(())
    }

    fn seal(&mut self, attributes: i16, timestamp: i64, producer_id: i64, epoch: i16, sequence: i32) -> PyResult<()> {
        self.ensure_unused()?;
        self.inner.seal(&batch::Sender { attributes, timestamp, id: producer_id, epoch, sequence });
        Ok(())
    }

    /// A read-only view of the bytes.
    ///
    /// # Safety
    ///
    /// To be called by Python's buffer protocol alone. The view keeps this object alive, and until it is released
    /// nothing here moves or changes the bytes.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill in"));
        }
        let (start, length) = {
            let batch = slf.borrow();
            let bytes = batch.inner.bytes();
            (bytes.as_ptr(), bytes.len())
        };
        // SAFETY: the view is Python's; the bytes live as long as the object, which the view holds on to.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start as *mut c_void, length as ffi::Py_ssize_t, 1, flags)
        };
        if filled != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        slf.borrow_mut().exports += 1;
        Ok(())
    }

    /// # Safety
    ///
    /// To be called by Python's buffer protocol alone.
    unsafe fn __releasebuffer__(&mut self, _view: *mut ffi::Py_buffer) {
        self.exports -= 1;
    }
}

impl Batch {
    fn ensure_unused(&self) -> PyResult<()> {
        if self.exports > 0 {
            return Err(PyBufferError::new_err("somebody reads the batch"));
        }
        Ok(())
    }
}

#[pymodule]
fn streamer_kernel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Gatherer>()?;
    module.add_class::<ReadBack>()?;
    module.add_class::<Batch>()
}
